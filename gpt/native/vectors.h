/* Eight floats at a time, in the vector types that gcc and clang share. */

#ifndef VECTORS_H
#define VECTORS_H

#include "kernels.h"

enum { LANES = 8 };

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vec load(const float *from) { return *(const vec *)from; }

static inline void store(float *to, vec x) { *(vec *)to = x; }

static inline vec all(float x) { return x - (vec){0}; }

/* a where the mask is set, else b */
static inline vec choose(ints mask, vec a, vec b) {
    return (vec)(((ints)a & mask) | ((ints)b & ~mask));
}

/* Each pair of floats the other way round */
static inline vec partners(vec x) {
#ifdef __clang__
    return __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6);
#else
    return __builtin_shuffle(x, (ints){1, 0, 3, 2, 5, 4, 7, 6});
#endif
}

static inline float total(vec x) {
    float sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += x[i];
    return sum;
}

/* e^x for x <= 0, to 2 units in the last place; 0 below -87; NaN stays NaN.
   2^n by its bits, times the Taylor series of what is left. */
static inline vec exponential(vec x) {
    vec low = all(-87.0f);
    ints tiny = x < low;
    x = choose(tiny, low, x);
    vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    vec n = (x * 1.44269504f + magic) - magic;
    vec rest = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec series = all(1.0f / 720);
    series = series * rest + 1.0f / 120;
    series = series * rest + 1.0f / 24;
    series = series * rest + 1.0f / 6;
    series = series * rest + 0.5f;
    series = series * rest + 1.0f;
    series = series * rest + 1.0f;
    ints power = (__builtin_convertvector(n, ints) + 127) << 23;
    return choose(tiny, (vec){0}, series * (vec)power);
}

#endif
