/* layer.h - a layer over one row, as machine code calls it. */
#ifndef PG_NATIVE_LAYER_H
#define PG_NATIVE_LAYER_H

#include "native/emit.h"

/* Is this run, of instructions or steps from the i-th on, a layer that layer.c does? If so,
 * pg_emit_layer writes the call. */
bool pg_is_row_layer(const pg_emitter *e, uint32_t i);
void pg_emit_layer(pg_emitter *e, uint32_t i);

/* What calls refer to, layer after layer, in blocks that never move. */
void pg_free_notes(pg_note_block *notes);

#endif
