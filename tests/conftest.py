"""What holds for all tests: the garbage collector looks at what the tests of one file make.

Many of them count nodes after a full collection, which would else visit pytest's, numpy's and
everybody's objects each time, a tenth of a second long.
"""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _only_what_tests_make() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
