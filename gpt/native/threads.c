/* How many threads share the work that the calling thread is about to do. */

#include <omp.h>
#include <stdint.h>

void use_threads(int64_t count) { omp_set_num_threads((int)count); }
