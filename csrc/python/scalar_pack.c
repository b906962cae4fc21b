/* scalar_pack.c - copies and pickles of Values with their graphs; core/copying.py is the other
 * half.
 *
 * A part (csrc/graph/graph_bytes.h) is represented in Python by a capsule that owns it. Python
 * objects are passed beside the bytes: tags by number, objects with attributes, ends as Values. */
#include "python/scalar_members.h"
#include "python/scalar_numbers.h"
#include "python/scalar_object.h"
#include "python/scalar_trace.h"

#include "graph/graph_bytes.h"

static pg_packer packer;
static const char capsule_name[] = "pygradc.part";

static void free_part(PyObject *capsule) {
    pg_part *part = PyCapsule_GetPointer(capsule, capsule_name);
    if (part == NULL) return;
    pg_part_free(scalar_global.graph, &packer, part);
    PyMem_Free(part);
    scalar_run_deferred();
}

/* A capsule that takes over the part; if it can't be created, the part is freed. */
static PyObject *capsule_of(pg_part found) {
    pg_part *part = PyMem_New(pg_part, 1);
    if (part != NULL) {
        *part = found;
        PyObject *capsule = PyCapsule_New(part, capsule_name, free_part);
        if (capsule != NULL) return capsule;
        PyMem_Free(part);
    } else {
        PyErr_NoMemory();
    }
    pg_part_free(scalar_global.graph, &packer, &found);
    scalar_run_deferred();
    return NULL;
}

static pg_part *part_in(PyObject *capsule) { return PyCapsule_GetPointer(capsule, capsule_name); }

static int require_value(PyObject *object) {
    if (scalar_check(object)) return 0;
    return scalar_error(PyExc_TypeError, "expected a Value, not %.100s", Py_TYPE(object)->tp_name);
}

/* ---- Values to parts ------------------------------------------------------------------------- */

/* place(value) -> (number of the living part that contains its node, or 0; its place there) */
static PyObject *place_of(PyObject *Py_UNUSED(module), PyObject *value) {
    if (require_value(value) < 0 || scalar_may_read(value, "a copy") < 0) return NULL;
    const pg_place place = pg_place_of(&packer, ((scalar *)value)->id);
    return Py_BuildValue("II", (unsigned)place.part, (unsigned)place.index);
}

/* collect(value) -> part */
static PyObject *collect(PyObject *Py_UNUSED(module), PyObject *value) {
    if (require_value(value) < 0 || scalar_may_read(value, "a copy") < 0) return NULL;
    pg_part part;
    pg_status status = pg_part_collect(scalar_global.graph, &packer, &part, ((scalar *)value)->id);
    return status == PG_OK ? capsule_of(part) : scalar_raise(status);
}

/* The tags met so far: a dict from address to number, and a list in the order of numbers. */
typedef struct tag_table {
    PyObject *numbers, *tags;
} tag_table;

static uint32_t number_tag(void *context, void *tag) {
    tag_table *table = context;
    PyObject *key = PyLong_FromVoidPtr(tag);
    PyObject *known = key != NULL ? PyDict_GetItemWithError(table->numbers, key) : NULL;
    uint32_t number = UINT32_MAX;
    if (known != NULL) number = (uint32_t)PyLong_AsUnsignedLong(known);
    else if (key != NULL && !PyErr_Occurred()) {
        PyObject *next = PyLong_FromSsize_t(PyList_GET_SIZE(table->tags));
        if (next != NULL && PyDict_SetItem(table->numbers, key, next) == 0 &&
            PyList_Append(table->tags, tag) == 0)
            number = (uint32_t)(PyList_GET_SIZE(table->tags) - 1);
        Py_XDECREF(next);
    }
    Py_XDECREF(key);
    return number;
}

static PyObject *write_part(const pg_part *part, tag_table *table) {
    const size_t count = pg_part_bytes(scalar_global.graph, part);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)count);
    if (bytes == NULL) return NULL;
    pg_status status = pg_part_write(scalar_global.graph, part, (uint8_t *)PyBytes_AS_STRING(bytes),
                                     number_tag, table);
    if (status == PG_OK) return bytes;
    Py_DECREF(bytes);
    return scalar_raise(status);
}

/* pack(part) -> (bytes, ends: a tuple of Values, tags: a list) */
static PyObject *pack(PyObject *Py_UNUSED(module), PyObject *capsule) {
    const pg_part *part = part_in(capsule);
    if (part == NULL) return NULL;
    tag_table table = {PyDict_New(), PyList_New(0)};
    PyObject *bytes = table.numbers && table.tags ? write_part(part, &table) : NULL;
    PyObject *ends = bytes != NULL ? scalar_values_of(part->ends, part->end_count) : NULL;
    PyObject *result = ends != NULL ? PyTuple_Pack(3, bytes, ends, table.tags) : NULL;
    Py_XDECREF(ends);
    Py_XDECREF(bytes);
    Py_XDECREF(table.tags);
    Py_XDECREF(table.numbers);
    return result;
}

/* Does the object have attributes, or a class other than Value? */
static int has_state(PyObject *object) {
    return Py_TYPE(object) != scalar_global.value || ((scalar *)object)->dict != NULL;
}

static int append_with_place(PyObject *list, pg_node_id id, size_t index) {
    PyObject *value = scalar_of_node(id);
    PyObject *pair = value != NULL ? Py_BuildValue("nN", (Py_ssize_t)index, value) : NULL;
    int failed = pair == NULL || PyList_Append(list, pair) < 0;
    Py_XDECREF(pair);
    return failed ? -1 : 0;
}

/* with_state(part) -> [(place, value)]: the Values with attributes or a class of their own */
static PyObject *with_state(PyObject *Py_UNUSED(module), PyObject *capsule) {
    const pg_part *part = part_in(capsule);
    PyObject *list = part != NULL ? PyList_New(0) : NULL;
    for (size_t i = 0; list != NULL && i < part->count; i++) {
        PyObject *owner = scalar_global.graph->owners[part->ids[i]];
        if (owner != NULL && has_state(owner) && append_with_place(list, part->ids[i], i) < 0)
            Py_CLEAR(list);
    }
    return list;
}

/* attributes(value) -> its attributes, or None */
static PyObject *dict_of(PyObject *Py_UNUSED(module), PyObject *value) {
    if (require_value(value) < 0) return NULL;
    PyObject *dict = ((scalar *)value)->dict;
    return Py_NewRef(dict != NULL ? dict : Py_None);
}

/* ---- Parts to Values ------------------------------------------------------------------------- */

/* The tag of this number, as a new reference: a name for a plain node, a rule for a custom op; NULL
 * if it is of the wrong type or missing. */
static void *find_tag(void *context, uint32_t number, pg_variadic_kind kind) {
    PyObject *tags = context;
    if (number >= (size_t)PyTuple_GET_SIZE(tags)) return NULL;
    PyObject *tag = PyTuple_GET_ITEM(tags, number);
    const int fits = kind == PG_VARIADIC_CUSTOM ? scalar_is_rule(tag) : PyUnicode_CheckExact(tag);
    return fits ? Py_NewRef(tag) : NULL;
}

static PyObject *read_part(Py_buffer *bytes, PyObject *ends, PyObject *tags) {
    size_t count = 0;
    pg_node_id *ids = scalar_gather_ids(ends, &count);
    if (ids == NULL) return NULL;
    pg_part part;
    pg_status status =
        pg_part_read(scalar_global.graph, &part,
                     &(pg_packed_part){bytes->buf, (size_t)bytes->len, ids, count}, find_tag, tags);
    PyMem_Free(ids);
    scalar_run_deferred();
    for (size_t i = 0; status == PG_OK && scalar_global.tracing != 0 && i < part.count; i++)
        if (pg_node_is_leaf(scalar_global.graph, part.ids[i])) scalar_note_leaf(part.ids[i]);
    if (status == PG_OK) return capsule_of(part);
    if (status != PG_ERR_BAD_FILE) return scalar_raise(status);
    PyErr_SetString(PyExc_ValueError, "these bytes are not a pickled graph of this version");
    return NULL;
}

/* unpack(bytes, ends, tags) -> part */
static PyObject *unpack(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer bytes;
    PyObject *ends, *tags;
    if (!PyArg_ParseTuple(args, "y*O!O!", &bytes, &PyTuple_Type, &ends, &PyTuple_Type, &tags))
        return NULL;
    PyObject *capsule = read_part(&bytes, ends, tags);
    PyBuffer_Release(&bytes);
    return capsule;
}

/* The node at this place; 0 with IndexError set. */
static pg_node_id node_at(PyObject *capsule, Py_ssize_t index) {
    const pg_part *part = part_in(capsule);
    if (part == NULL) return 0;
    if (index >= 0 && (size_t)index < part->count) return part->ids[index];
    PyErr_Format(PyExc_IndexError, "a part of %zu nodes has no node %zd", part->count, index);
    return 0;
}

/* value_at(part, place) -> Value */
static PyObject *value_at(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *capsule;
    Py_ssize_t index;
    if (!PyArg_ParseTuple(args, "On", &capsule, &index)) return NULL;
    const pg_node_id id = node_at(capsule, index);
    return id != 0 ? scalar_of_node(id) : NULL;
}

/* embody(part, place, class) -> a new instance of this subclass for the node */
static PyObject *embody(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *capsule, *class;
    Py_ssize_t index;
    if (!PyArg_ParseTuple(args, "OnO!", &capsule, &index, &PyType_Type, &class)) return NULL;
    const pg_node_id id = node_at(capsule, index);
    return id != 0 ? scalar_embody(id, (PyTypeObject *)class) : NULL;
}

/* stand_for(part, place, instance): make this new instance of a subclass represent the node. */
static PyObject *stand_for(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *capsule, *instance;
    Py_ssize_t index;
    if (!PyArg_ParseTuple(args, "OnO", &capsule, &index, &instance)) return NULL;
    const pg_node_id id = node_at(capsule, index);
    if (id == 0 || scalar_stand_for(instance, id) < 0) return NULL;
    Py_RETURN_NONE;
}

PyMethodDef scalar_pack_functions[] = {
    {"place", place_of, METH_O, NULL},
    {"collect", collect, METH_O, NULL},
    {"pack", pack, METH_O, NULL},
    {"with_state", with_state, METH_O, NULL},
    {"attributes", dict_of, METH_O, NULL},
    {"unpack", unpack, METH_VARARGS, NULL},
    {"value_at", value_at, METH_VARARGS, NULL},
    {"embody", embody, METH_VARARGS, NULL},
    {"stand_for", stand_for, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
