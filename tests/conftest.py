"""What holds for all tests: what the garbage collector looks at, and that Ctrl-C is heard.

Many tests count nodes after a full collection, which would else visit pytest's, numpy's and
everybody's objects each time, for a tenth of a second: it looks at what one file's tests make.
What a shell runs in the background ignores SIGINT, and so would the processes that tests start.
In a free-threaded Python they would all warn on stderr that they turn the GIL on; test_threads.py
looks at that. A test that doesn't end is ended, with all others, and says where each thread is.
"""

import faulthandler
import gc
import os
import signal
import sys
import sysconfig
from collections.abc import Iterator

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    os.environ["PYTHON_GIL"] = "1"


@pytest.fixture(scope="module", autouse=True)
def _only_what_tests_make() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


MOST_SECONDS = 1800.0 if os.environ.get("PYGRADC_FULL") else 600.0  # of one test, on a slow machine


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ERRORS] = os.dup(sys.__stderr__.fileno())  # which tests don't capture yet


_ERRORS = pytest.StashKey[int]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    faulthandler.dump_traceback_later(MOST_SECONDS, exit=True, file=item.config.stash[_ERRORS])
    yield
    faulthandler.cancel_dump_traceback_later()
