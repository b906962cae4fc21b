/* program.c - creating, freeing and inspecting a program. Owns what pg_program_free frees. */
#include "program/program.h"

void pg_program_free(pg_program *program) {
    if (program == NULL) return;
    for (size_t i = 0; program->orders != NULL && i < program->output_count; i++)
        pg_free(program->orders[i]);
    pg_free(program->orders);
    pg_free(program->order_counts);
    pg_free(program->constants);
    pg_free(program->imports);
    pg_free(program->code);
    pg_free(program->pairs);
    pg_free(program->outputs);
    pg_free(program->sources);
    pg_free_caches(program->cache);
    pg_free(program);
}

const pg_node_id *pg_program_sources(const pg_program *program) { return program->sources; }

pg_program_size pg_program_measure(const pg_program *program) {
    return (pg_program_size){.inputs = program->input_count,
                             .params = program->param_count,
                             .outputs = program->output_count,
                             .constants = program->constant_count,
                             .uniform_slots = program->uniform_slots,
                             .row_slots = program->row_slots,
                             .imports = program->import_count,
                             .uniform_instrs = program->uniform_length,
                             .row_instrs = program->length - program->uniform_length,
                             .pairs = program->pair_count,
                             .fast = program->fast};
}

const pg_instr *pg_program_code(const pg_program *program) { return program->code; }
const pg_pair *pg_program_pairs(const pg_program *program) { return program->pairs; }
const double *pg_program_constants(const pg_program *program) { return program->constants; }
const uint32_t *pg_program_imports(const pg_program *program) { return program->imports; }
const uint32_t *pg_program_outputs(const pg_program *program) { return program->outputs; }
