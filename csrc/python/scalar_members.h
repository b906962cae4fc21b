/* scalar_members.h - what the files of this folder export to the type and to each other. */
#ifndef PG_SCALAR_MEMBERS_H
#define PG_SCALAR_MEMBERS_H

#include "python/scalar.h"

/* Tables of methods and attributes, for scalar_type.c. */
extern PyMethodDef scalar_cycle_functions[];
extern PyMethodDef scalar_trace_functions[];
extern PyMethodDef scalar_replay_functions[];
extern PyMethodDef scalar_no_grad_functions[];
extern PyMethodDef scalar_pack_functions[];
extern PyMethodDef scalar_param_functions[];
extern PyMethodDef scalar_custom_functions[];
extern PyMethodDef scalar_array_functions[];
extern PyGetSetDef scalar_getset[];
extern PyMethodDef scalar_call_methods[];
extern PyMethodDef scalar_call_functions[];
enum { SCALAR_MOST_NUMBER_SLOTS = 24 };
extern const PyType_Slot scalar_number_slots[]; /* ends with a slot 0 */
/* Add the methods of a table to a class. 0 or -1. */
int scalar_add_methods(PyTypeObject *type, PyMethodDef *methods);
/* Add the methods of the op table, and the conversions that a Value refuses. 0 or -1. */
int scalar_add_operators(PyTypeObject *type);

/* Is this a rule as pygradc/custom.py makes them? */
int scalar_is_rule(PyObject *object);

/* Write the derivatives of a custom op's node to its locals. 0, or -1 with an exception set. */
int scalar_custom_slopes(void *tag, pg_node_id id);
/* Build the derivatives of a custom op's node as nodes, which the caller owns. As above. */
int scalar_custom_derive(void *tag, pg_node_id id, pg_node_id *ids_ret);

/* Create the base type of recorded.compiled.Compiled. A new reference, or NULL. */
PyObject *scalar_bindable(void);

int scalar_init(PyObject *self, PyObject *args, PyObject *kwargs);

/* The attribute of this name in the object's dict; borrowed, NULL if there is none. */
PyObject *scalar_attribute(const scalar *self, PyObject *name);
PyObject *scalar_children(PyObject *self); /* a tuple, or NULL */
int scalar_call_closure(void *owner);

#endif
