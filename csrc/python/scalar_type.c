/* scalar_type.c - create the C type under Value, and install it in the extension. */
#include "python/scalar_members.h"
#include "python/scalar_object.h"
#include "python/scalar_result.h"
#include "python/scalar_trace.h"

#include <stdio.h>
#include <structmember.h>

scalar_state scalar_global = {.version = SCALAR_NO_VERSION};
scalar_names scalar_name;

static int intern_names(void) {
    const struct {
        PyObject **name_ret;
        const char *text;
    } all[] = {{&scalar_name.data, "data"},   {&scalar_name.grad, "grad"},
               {&scalar_name.label, "label"}, {&scalar_name.backward, "_backward"},
               {&scalar_name.op, "_op"},      {&scalar_name.push, "_push"},
               {&scalar_name.empty, ""}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        *all[i].name_ret = PyUnicode_InternFromString(all[i].text);
        if (*all[i].name_ret == NULL) return -1;
    }
    scalar_name.minus_one = PyLong_FromLong(-1);
    return scalar_name.minus_one != NULL ? 0 : -1;
}

static PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(scalar, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(scalar, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static const PyType_Slot slots[] = {
    {Py_tp_doc,
     "Scalar(data, _children=(), _op='', label='', *, children=None, local_grads=None)\n--\n\n"
     "A node of the graph: the number slots and attributes under Value."},
    {Py_tp_new, scalar_new},
    {Py_tp_init, scalar_init},
    {Py_tp_dealloc, scalar_dealloc},
    {Py_tp_traverse, scalar_traverse},
    {Py_tp_clear, scalar_clear},
    {Py_tp_setattro, scalar_setattro},
    {Py_tp_members, members},
    {Py_tp_getset, scalar_getset},
    {Py_tp_methods, scalar_call_methods},
    {0, NULL},
};

static int poll_signals(void) {
    scalar_global.inside++;
    int result = PyErr_CheckSignals();
    scalar_global.inside--;
    return result;
}

/* Has Ctrl-C been pressed? Tests without running the handler, and clears the signal: the caller of
 * the core sets it again and runs the handler after the core has returned. */
static int told_to_stop(void) { return PyOS_InterruptOccurred(); }

static bool is_recording(void) { return scalar_tracing() != 0; }

/* Give methods without a docstring a signature, for `inspect` and `help`. The text is never freed:
 * the table holds it. */
static int describe(PyMethodDef *methods) {
    for (PyMethodDef *method = methods; method->ml_name != NULL; method++) {
        if (method->ml_doc != NULL) continue;
        const char *arguments = method->ml_flags & METH_NOARGS ? ""
                                : method->ml_flags & METH_O    ? "argument, /"
                                                               : "*arguments";
        const size_t size = strlen(method->ml_name) + strlen(arguments) + sizeof "()\n--\n\n";
        char *doc = PyMem_Malloc(size);
        if (doc == NULL) return scalar_fail(PG_ERR_NOMEM);
        (void)snprintf(doc, size, "%s(%s)\n--\n\n", method->ml_name, arguments);
        method->ml_doc = doc;
    }
    return 0;
}

int scalar_add_methods(PyTypeObject *type, PyMethodDef *methods) {
    for (PyMethodDef *method = methods; method->ml_name != NULL; method++) {
        PyObject *descriptor = PyDescr_NewMethod(type, method);
        int failed = descriptor == NULL ||
                     PyObject_SetAttrString((PyObject *)type, method->ml_name, descriptor) < 0;
        Py_XDECREF(descriptor);
        if (failed) return -1;
    }
    return 0;
}

static int add_functions(PyObject *module) {
    PyMethodDef *const tables[] = {
        scalar_call_functions,    scalar_trace_functions,  scalar_replay_functions,
        scalar_no_grad_functions, scalar_custom_functions, scalar_array_functions,
        scalar_pack_functions,    scalar_param_functions,  scalar_cycle_functions};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (describe(tables[i]) < 0 || PyModule_AddFunctions(module, tables[i]) < 0) return -1;
    return 0;
}

static PyTypeObject *make_type(void) {
    PyType_Slot all[sizeof slots / sizeof slots[0] + SCALAR_MOST_NUMBER_SLOTS];
    size_t count = 0;
    for (const PyType_Slot *slot = slots; slot->slot != 0; slot++) all[count++] = *slot;
    for (const PyType_Slot *slot = scalar_number_slots; slot->slot != 0; slot++)
        all[count++] = *slot;
    all[count] = (PyType_Slot){0, NULL};
    PyType_Spec spec = {.name = "pygradc._core.Scalar",
                        .basicsize = sizeof(scalar),
                        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                        .slots = all};
    if (describe(scalar_call_methods) < 0) return NULL;
    PyTypeObject *type = (PyTypeObject *)PyType_FromSpec(&spec);
    if (type != NULL && scalar_add_operators(type) < 0) Py_CLEAR(type);
    return type;
}

static int install(const char *module_name) {
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) return -1;
    if (scalar_global.base == NULL) {
        scalar_global.graph = pg_graph_new();
        if (scalar_global.graph == NULL) PyErr_NoMemory();
        else if (intern_names() == 0) scalar_global.base = make_type();
        if (scalar_global.base != NULL)
            scalar_global.graph->hooks = (pg_hooks){.call = scalar_call_closure,
                                                    .poll = poll_signals,
                                                    .stop = told_to_stop,
                                                    .slopes = scalar_custom_slopes,
                                                    .derive = scalar_custom_derive,
                                                    .idle = scalar_note_idle,
                                                    .drop = scalar_note_dropped,
                                                    .untag = scalar_note_untagged,
                                                    .recording = is_recording};
    }
    PyObject *bindable = scalar_global.base != NULL ? scalar_bindable() : NULL;
    int failed = bindable == NULL ||
                 PyObject_SetAttrString(module, "Scalar", (PyObject *)scalar_global.base) < 0 ||
                 PyObject_SetAttrString(module, "Bindable", bindable) < 0 ||
                 add_functions(module) < 0;
    Py_XDECREF(bindable);
    Py_DECREF(module);
    return failed ? -1 : 0;
}

int pg_python_install(const char *module) {
    PyGILState_STATE gil = PyGILState_Ensure();
    int result = install(module);
    if (result < 0) PyErr_Print();
    PyGILState_Release(gil);
    return result;
}
