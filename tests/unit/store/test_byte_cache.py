"""A cache keeps no more bytes than it may."""

from gputel.store.byte_cache import ByteCache


def test_the_oldest_values_are_forgotten_when_bytes_are_needed():
    cache: ByteCache[str, int] = ByteCache(100)
    for number, name in enumerate("abcd"):
        cache.put(name, number, 40)
    assert [cache.get(name) for name in "abcd"] == [None, None, 2, 3]
    assert cache.bytes == 80


def test_a_value_that_is_put_again_counts_once():
    cache: ByteCache[str, int] = ByteCache(100)
    for size in (90, 10, 50):
        cache.put("a", size, size)
    assert (cache.get("a"), cache.bytes) == (50, 50)


def test_a_value_that_is_too_large_pushes_nothing_out():
    cache: ByteCache[str, int] = ByteCache(100, max_each=50)
    cache.put("a", 1, 50)
    cache.put("b", 2, 51)
    assert (cache.get("a"), cache.get("b")) == (1, None)


def test_the_number_of_values_may_be_bounded_as_well():
    cache: ByteCache[str, int] = ByteCache(100, max_values=2)
    for name in "abc":
        cache.put(name, 1, 1)
    assert [cache.get(name) for name in "abc"] == [None, 1, 1]
