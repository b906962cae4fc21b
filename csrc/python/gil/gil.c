/* gil.c - an extension module that enables the GIL in a free-threaded Python by declaring nothing.
 *
 * A free-threaded Python that loads an extension enables the GIL, with a RuntimeWarning, unless the
 * extension declares that it runs without (PEP 703, slot Py_mod_gil). cffi's modules declare that,
 * whatever is linked into them. The graph needs the GIL, so core/scalar.py loads this
 * module. */
#include <Python.h>

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pygradc._gil",
    .m_doc = "Loading it turns the GIL on.",
};

PyMODINIT_FUNC PyInit__gil(void);
PyMODINIT_FUNC PyInit__gil(void) { return PyModule_Create(&definition); }
