/* A piece of a matrix product that fits the registers. */

#ifndef TILE_H
#define TILE_H

#include "vectors.h"

enum { TALL = 6, WIDE = 2 * LANES };

typedef vec sums[TALL][2];

/* Without it gcc loads a vector anew for each of its uses, and is a third slower. */
#ifdef __x86_64__
#define STAYS(x) __asm__("" : "+x"(x))
#else
#define STAYS(x) (void)(x)
#endif

/* sum += the column a (rows) times the row b (vecs * LANES) */
static inline __attribute__((always_inline)) void
add_outer(const int rows, const int vecs, sums sum, const float *a, i64 a_row, const float *b) {
    vec first = load(b), second = first;
    if (vecs == 2)
        second = load(b + LANES);
    STAYS(first);
    STAYS(second);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        sum[r][0] += a[r * a_row] * first;
        if (vecs == 2)
            sum[r][1] += a[r * a_row] * second;
    }
}

/* c (rows, vecs * LANES) = or += a (rows, depth) times b (depth, vecs * LANES). Called with constants
   for rows and vecs, and inlined, so that the sums are registers from beginning to end. */
static inline __attribute__((always_inline)) void
tile(const int rows, const int vecs, float *c, i64 c_row, const float *a, i64 a_row, i64 a_column,
     const float *b, i64 b_row, i64 depth, int add) {
    sums sum;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++)
            sum[r][v] = (vec){0};
    for (; depth >= 2; depth -= 2, a += 2 * a_column, b += 2 * b_row) {
        add_outer(rows, vecs, sum, a, a_row, b);
        add_outer(rows, vecs, sum, a + a_column, a_row, b + b_row);
    }
    if (depth)
        add_outer(rows, vecs, sum, a, a_row, b);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) {
            if (add)
                sum[r][v] += load(c + r * c_row + v * LANES);
            store(c + r * c_row + v * LANES, sum[r][v]);
        }
}

/* As `tile`, of any number of rows */
static inline __attribute__((always_inline)) void
stripe(const int vecs, float *c, i64 c_row, const float *a, i64 a_row, i64 a_column, const float *b,
       i64 b_row, i64 rows, i64 depth, int add) {
    for (; rows >= TALL; rows -= TALL, a += TALL * a_row, c += TALL * c_row)
        tile(TALL, vecs, c, c_row, a, a_row, a_column, b, b_row, depth, add);
    switch (rows) {
    case 5: tile(5, vecs, c, c_row, a, a_row, a_column, b, b_row, depth, add); break;
    case 4: tile(4, vecs, c, c_row, a, a_row, a_column, b, b_row, depth, add); break;
    case 3: tile(3, vecs, c, c_row, a, a_row, a_column, b, b_row, depth, add); break;
    case 2: tile(2, vecs, c, c_row, a, a_row, a_column, b, b_row, depth, add); break;
    case 1: tile(1, vecs, c, c_row, a, a_row, a_column, b, b_row, depth, add); break;
    }
}

#endif
