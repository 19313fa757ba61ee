"""The card says what the run recorded, and says so where nothing was."""

from ssljax.export.model_card import CardFacts, model_card

CONFIG = {"model": {"name": "gpt", "width": 64}, "objective": {"name": "next_token"},
          "total_steps": 1000, "batch_size": 16, "optim": {"name": "adamw", "lr": 2e-3},
          "schedule": {"name": "cosine"}, "compute_dtype": "float32", "seed": 0}
ABOUT = {"name": "mine", "kind": "decoder", "max_context": 2048, "end_of_text": 0,
         "lineage": {"run": "run", "step": 900, "config_sha256": "f" * 64,
                     "versions": {"jax": "0.10.2"}}}
DATA = {"name": "text", "version": "abc", "read": 1200, "kept": 1000, "dropped": {"too|short": 200},
        "licences": {"PSF-2.0": 1000},
        "splits": {"train": {"documents": 990, "tokens": 123456, "text_bytes": 500000}}}
EVALUATION = {
    "evals": {"text": {"bits_per_byte": {"value": 1.23456, "low": 1.2, "high": 1.3},
                       "bytes": {"value": 50000.0, "low": 50000.0, "high": 50000.0}}},
    "against": {"text": {"xz": {"bits_per_byte": 0.8, "percent": 39.3}}},
    "baselines": {"text": {"xz": {"value": 2.03, "low": None, "high": None}}}}


def test_card_has_data_training_figures_and_limits():
    card = model_card(CardFacts(ABOUT, 1_234_567, CONFIG, DATA, EVALUATION))
    for words in (
            "# mine", "1,234,567 parameters", "| width | 64 |",
            "1,000 of 1,200 documents were kept",
            "| train | 990 | 123,456 | 500,000 |", "| PSF-2.0 | 1,000 |", "| too/short | 200 |",
            "Step 900", "| peak learning rate | 0.002 |", "jax 0.10.2",
            "| text | bits per byte | 1.235 | 1.2 to 1.3 |", "| text | bytes | 50,000 |  |",
            "| text | xz | 2.03 | +39.3 % |", "2,048 tokens were never trained",
            "ssljax serve .", "numpy.array([[0]], numpy.int32)"):
        assert words in card, words


def test_card_says_what_is_unknown():
    card = model_card(CardFacts(ABOUT, 5, CONFIG, None, None))
    assert "source and licences are unknown" in card and "was not evaluated" in card
    nothing = {"evals": {"text": {"accuracy": {"value": None, "low": None, "high": None}}},
               "against": {}, "baselines": {}}
    assert "| text | accuracy | unknown |" in model_card(CardFacts(ABOUT, 5, CONFIG, None, nothing))


def test_card_of_an_encoder_speaks_of_images():
    about = {**ABOUT, "kind": "encoder", "image": {"shape": [8, 8, 1]}}
    card = model_card(CardFacts(about, 5, CONFIG, DATA, None))
    assert "embed.jaxexp" in card and "numpy.zeros((1, 8, 8, 1), numpy.float32)" in card
    assert "ssljax serve" not in card


def test_card_tells_what_rounding_changed_and_what_the_classifier_is():
    about = {**ABOUT, "kind": "encoder", "image": {"shape": [8, 8, 1]},
             "quantisation": {"kind": "int8", "parameters": 4000, "bytes_before": 17000,
                              "bytes": 5000, "made_up": {"cosine_least": 0.9987},
                              "held_out": {"knn": {"knn": {"full": 0.9, "rounded": None}}}},
             "functions": {"classify": {"labelled": 50, "labels": ["a", "b"], "evaluator": "linear",
                                        "accuracy": {"value": 0.75, "low": 0.7, "high": 0.8}}}}
    card = model_card(CardFacts(about, 5, CONFIG, DATA, None))
    for words in ("4,000 weights are stored as int8", "5,000 bytes instead of 17,000",
                  "| cosine least | 0.9987 |", "| knn | knn | 0.9 | unknown |",
                  "50 labelled examples of 2 classes", "0.75 (0.7 to 0.8)"):
        assert words in card, words
    plain = model_card(CardFacts(ABOUT, 5, CONFIG, DATA, None))
    assert "Eight-bit" not in plain and "Classifier" not in plain
