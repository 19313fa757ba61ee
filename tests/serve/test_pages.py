"""Pages: nobody's twice, shared by prompts that begin alike, and the longest unused go first."""

import random

from ssljax.serve.pages import make_pages, prefix_keys


def keys(text, chunk=4, root="model"):
    return prefix_keys([ord(c) for c in text], chunk, root)


def test_keys_are_of_all_tokens_so_far_and_of_the_model():
    assert len(keys("abcd")) == 0                     # the last token is always read
    assert len(keys("abcde")) == 1 and len(keys("abcdefghi")) == 2
    assert keys("abcdefghi")[0] == keys("abcdxyzwv")[0] == keys("abcdefghi", 4)[0]
    assert keys("abcdefghi")[1] != keys("xbcdefghi")[1]           # same chunk, other beginning
    assert keys("abcdefghi", root="other")[0] != keys("abcdefghi")[0]


def test_second_prompt_shares_the_chunks_that_were_read():
    pages = make_pages(1, 12, per_chunk=2)
    first = pages.take(keys("abcdefghi"), 5)
    assert first.hits == 0 and pages.take(keys("abcdefghi"), 5).hits == 0    # not read yet
    pages.keep(first, 0)
    assert pages.take(keys("abcdefghi"), 5) is None   # 10 of 12 are in use, 2 of 5 shared: 1 short
    third = pages.take(keys("abcdefghi"), 3)
    assert third.hits == 1 and third.table[:2] == first.table[:2]
    assert third.table[2] not in first.table
    assert pages.counts()._replace(asked=0) == (12, 11, 0, 0, 1)


def test_longest_unused_goes_first_and_the_end_of_a_prompt_before_its_beginning():
    pages = make_pages(1, 6, per_chunk=1)
    for text in ("aaaaaaaab", "zzzzb"):               # two chunks and one
        held = pages.take(keys(text), 3 if text[0] == "a" else 2)
        for chunk in range(len(held.keys)):
            pages.keep(held, chunk)
        pages.free(held)
    assert pages.counts() == (6, 0, 3, 3, 0)
    big = pages.take(keys("q" * 5), 4)                # one page of the kept ones has to go
    pages.free(big)
    assert pages.take(keys("aaaaaaaab"), 3).hits == 1
    assert pages.take(keys("zzzzb"), 2).hits == 1


def test_hits_are_not_thrown_out_to_make_room_for_themselves():
    pages = make_pages(1, 3, per_chunk=1)
    held = pages.take(keys("aaaab"), 2)
    pages.keep(held, 0)
    pages.free(held)
    again = pages.take(keys("aaaab"), 3)
    assert again.hits == 1 and len(set(again.table)) == 3
    assert pages.take(keys("b"), 1) is None


def test_forgotten_chunks_are_free_once_nobody_holds_them():
    pages = make_pages(1, 4, per_chunk=1)
    held = pages.take(keys("aaaabbbbc"), 3)
    pages.keep(held, 0)
    pages.forget()
    assert pages.take(keys("aaaac"), 2) is None and pages.counts().used == 3
    pages.free(held)
    assert pages.counts()[:3] == (4, 0, 0)
    assert pages.take(keys("aaaac"), 2).hits == 0


def test_any_sequence_of_requests_keeps_the_books():
    rng = random.Random(0)
    pages, running = make_pages(1, 20, per_chunk=2), []
    for _ in range(3000):
        prompt = "".join(rng.choice("ab") * 4 for _ in range(rng.randrange(4))) + "c"
        wanted = 2 * len(keys(prompt)) + rng.randrange(1, 6)
        held = pages.take(keys(prompt), wanted) if rng.random() < 0.5 else None
        if held is not None:
            running.append(held)
            assert len(set(held.table)) == wanted
            for chunk in range(held.hits, rng.randrange(held.hits, len(held.keys) + 1)):
                pages.keep(held, chunk)
        elif running:
            pages.free(running.pop(rng.randrange(len(running))))
        if rng.random() < 0.01:
            pages.forget()
        users = {}
        for one in running:
            shared = set(one.table[:2 * len(one.keys)])
            for page in one.table:
                users.setdefault(page, set()).add(page in shared)
        assert all(kinds != {True, False} for kinds in users.values())    # own pages are not shared
        counts = pages.counts()
        assert counts.used == len(users) and counts.used + counts.kept <= counts.pages
        assert all(1 <= page <= 20 for page in users)
    for one in running:
        pages.free(one)
    pages.forget()
    assert pages.counts()[:3] == (20, 0, 0)
    assert len(set(pages.take((), 20).table)) == 20                       # none was lost
    assert pages.counts().found > 50
