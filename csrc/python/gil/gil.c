/* gil.c - an extension of its own that needs the GIL, and says so by declaring nothing.
 *
 * A free-threaded Python that loads an extension turns the GIL on, with a RuntimeWarning, unless
 * the extension declares that it can do without (PEP 703, slot Py_mod_gil). cffi's modules declare
 * that, whatever is linked into them. The graph can't do without, so pygradc/_scalar.py loads this
 * one. */
#include <Python.h>

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pygradc._gil",
    .m_doc = "Loading it turns the GIL on.",
};

PyMODINIT_FUNC PyInit__gil(void);
PyMODINIT_FUNC PyInit__gil(void) { return PyModule_Create(&definition); }
