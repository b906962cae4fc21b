/* replay.c - run a target over files and folders of files, without libFuzzer: a crash found
 * elsewhere, or a corpus, with any compiler. Prints how many there were. */
#include "fuzz.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/* The other half of libFuzzer, for mutators that are compiled but not used here. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t count, size_t most) {
    (void)bytes, (void)most;
    return count;
}

static bool run_file(const char *path) {
    enum { most = 1 << 20 };
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    uint8_t *room = must_alloc(most, 1);
    const size_t count = fread(room, 1, most, file);
    uint8_t *bytes = must_alloc(count, 1); /* of its own, so that a sanitizer sees its end */
    memcpy(bytes, room, count);
    free(room);
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(bytes, count);
    free(bytes);
    return true;
}

static size_t run_all(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL) return run_file(path);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char inner[4096];
        if (entry->d_name[0] == '.') continue;
        const int length = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (length > 0 && (size_t)length < sizeof inner) count += run_file(inner);
    }
    (void)closedir(folder);
    return count;
}

int main(int argc, char **argv) {
    size_t count = 0;
    for (int i = 1; i < argc; i++) count += run_all(argv[i]);
    printf("%s: %zu files\n", argv[0], count);
    return count == 0;
}
