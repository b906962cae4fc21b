"""What holds for all tests: what the garbage collector looks at, and that Ctrl-C is heard.

Many tests count nodes after a full collection, which would else visit pytest's, numpy's and
everybody's objects each time, for a tenth of a second: it looks at what one file's tests make.
What a shell runs in the background ignores SIGINT, and so would the processes that tests start.
In a free-threaded Python they would all warn on stderr that they turn the GIL on; test_threads.py
looks at that.
"""

import gc
import os
import signal
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
