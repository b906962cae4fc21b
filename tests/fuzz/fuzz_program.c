/* fuzz_program.c - any bytes as a saved program: they are refused, or they are a program with which
 * everything can be done, and which does what program.h says that it means. */
#include "program_file.h"

static size_t mutate_in_parts(uint8_t *bytes, size_t count, size_t most) {
    static program_file file;
    if (!file_parse(&file, bytes, count)) return 0;
    file_mutate(&file);
    return file_write(&file, bytes, most);
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t count, size_t most, unsigned start) {
    seed(start);
    const size_t changed = below(10) ? mutate_in_parts(bytes, count, most) : 0;
    return changed > 0 ? changed : LLVMFuzzerMutate(bytes, count, most);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    pg_program *program = NULL;
    const pg_status status = pg_program_read(&program, bytes, count);
    if (status != PG_OK) {
        CHECK((status == PG_ERR_BAD_FILE || status == PG_ERR_NOMEM) && program == NULL);
        return 0;
    }
    seed(hash_of(bytes, count));
    check_program(program);
    pg_program_free(program);
    return 0;
}
