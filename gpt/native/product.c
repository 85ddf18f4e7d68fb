/* Matrix products in float32.

   The right matrix is first copied into panels of WIDE columns, of which DEPTH rows stay in the first
   cache while some rows of the left one pass (Goto and van de Geijn, "Anatomy of High-Performance
   Matrix Multiplication", 2008). A left matrix that is transposed in memory is copied as well. Where
   several threads share a product, each copies some of the panels and then has some of the rows. */

#include <string.h>

#include "kernels.h"
#include "tile.h"
#include "vectors.h"

enum { DEPTH = 256, BATCH = 8 * TALL, GROUP = 4 * WIDE };

i64 product_room(i64 n, i64 threads) { return DEPTH * (n + threads * BATCH); }

/* Panels of `depth` rows and WIDE columns of b, the last maybe narrower, one after the other */
static void pack_right(float *out, const float *b, i64 row, i64 column, i64 n, i64 depth) {
    if (column == 1)
        for (i64 j = 0; j < n; j += GROUP) {
            const i64 group = least(GROUP, n - j);
            for (i64 k = 0; k < depth; k++)
                for (i64 i = j; i < j + group; i += WIDE) {
                    const i64 wide = least(WIDE, n - i);
                    float *to = out + i * depth + k * wide;
                    store(to, load(b + k * row + i));
                    if (wide == WIDE)
                        store(to + LANES, load(b + k * row + i + LANES));
                }
        }
    else
        for (i64 j = 0; j < n; j++) {
            const i64 wide = least(WIDE, n - j / WIDE * WIDE);
            for (i64 k = 0; k < depth; k++)
                out[j / WIDE * WIDE * depth + k * wide + j % WIDE] = b[k * row + j * column];
        }
}

/* Panels of TALL rows, column after column; the last may have fewer rows */
static void pack_left(float *out, const float *a, i64 column, i64 m, i64 depth) {
    for (i64 k = 0; k < depth; k++)
        for (i64 i = 0; i < m; i += TALL) {
            const float *from = a + k * column + i;
            if (m - i >= TALL)
                memcpy(out + i * depth + k * TALL, from, 4 * TALL);
            else
                for (i64 r = 0; r < m - i; r++)
                    out[i * depth + k * (m - i) + r] = from[r];
        }
}

static void rows_as_they_are(float *c, i64 c_row, const float *a, i64 a_row, const float *right, i64 m,
                             i64 n, i64 depth, int add) {
    i64 j = 0;
    for (; j + WIDE <= n; j += WIDE)
        stripe(2, c + j, c_row, a, a_row, 1, right + j * depth, WIDE, m, depth, add);
    if (j < n)
        stripe(1, c + j, c_row, a, a_row, 1, right + j * depth, LANES, m, depth, add);
}

static void rows_of_panels(float *c, i64 c_row, const float *left, const float *right, i64 m, i64 n,
                           i64 depth, int add) {
    for (i64 j = 0; j < n; j += WIDE)
        for (i64 i = 0; i < m; i += TALL) {
            const i64 tall = least(TALL, m - i);
            float *to = c + i * c_row + j;
            const float *from = left + i * depth, *panel = right + j * depth;
            if (tall == TALL && n - j >= WIDE)
                tile(TALL, 2, to, c_row, from, 1, TALL, panel, WIDE, depth, add);
            else if (n - j >= WIDE)
                stripe(2, to, c_row, from, 1, tall, panel, WIDE, tall, depth, add);
            else
                stripe(1, to, c_row, from, 1, tall, panel, LANES, tall, depth, add);
        }
}

/* The first of those among `count` things that fall to a thread, in multiples of `unit` */
static i64 first_of(i64 count, i64 unit, i64 thread, i64 threads) {
    return least(count, (count + unit - 1) / unit * thread / threads * unit);
}

/* One thread's part of a product */
static void part(float *c, i64 c_row, const float *a, i64 a_row, i64 a_column, const float *b, i64 b_row,
                 i64 b_column, i64 m, i64 n, i64 k, int add, float *space, i64 thread, i64 threads) {
    float *right = space, *left = right + DEPTH * n + thread * DEPTH * BATCH;
    const i64 j = first_of(n, WIDE, thread, threads), columns = first_of(n, WIDE, thread + 1, threads) - j;
    const i64 end = first_of(m, TALL, thread + 1, threads);
    for (i64 start = 0; start < k; start += DEPTH, add = 1) {
        const i64 depth = least(DEPTH, k - start);
        pack_right(right + j * depth, b + start * b_row + j * b_column, b_row, b_column, columns, depth);
        if (threads > 1) {
#pragma omp barrier
        }
        for (i64 i = first_of(m, TALL, thread, threads); i < end; i += BATCH) {
            const i64 rows = least(BATCH, end - i);
            const float *from = a + i * a_row + start * a_column;
            float *to = c + i * c_row;
            if (a_column == 1)
                rows_as_they_are(to, c_row, from, a_row, right, rows, n, depth, add);
            else {
                pack_left(left, from, a_column, rows, depth);
                rows_of_panels(to, c_row, left, right, rows, n, depth, add);
            }
        }
        if (threads > 1) {
#pragma omp barrier
        }
    }
}

_Static_assert(BATCH % WIDE == 0, "a batch of rows begins with a panel of the right matrix");

/* c (n, n) = a (n, k) times b (k, n), which is known to be symmetric: what is left of the blocks of BATCH
   rows along the diagonal is copied from above them. Rows of a are a_row floats apart; n is a multiple of LANES; `space` has
   product_room for this n. One thread's work. */
void symmetric_product(float *c, const float *a, i64 a_row, const float *b, i64 b_row, i64 b_column, i64 n,
                       i64 k, float *space) {
    for (i64 start = 0; start < k; start += DEPTH) {
        const i64 depth = least(DEPTH, k - start);
        pack_right(space, b + start * b_row, b_row, b_column, n, depth);
        for (i64 i = 0; i < n; i += BATCH)
            rows_as_they_are(c + i * n + i, n, a + i * a_row + start, a_row, space + i * depth,
                             least(BATCH, n - i), n - i, depth, start > 0);
    }
    for (i64 j = 0; j < n; j += LANES)
        for (i64 i = (j / BATCH + 1) * BATCH; i < n; i++)
            for (i64 lane = 0; lane < LANES; lane++)
                c[i * n + j + lane] = c[(j + lane) * n + i];
}

/* c (m, n) = or += a (m, k) times b (k, n). Rows and columns of a and b are so many floats apart, one
   of both a single one. n is a multiple of LANES; `space` has product_room for this n and as many
   threads as may share it. */
void product(float *c, i64 c_row, const float *a, i64 a_row, i64 a_column, const float *b, i64 b_row,
             i64 b_column, i64 m, i64 n, i64 k, int add, float *space) {
    if (!is_shared(m * n)) {
        part(c, c_row, a, a_row, a_column, b, b_row, b_column, m, n, k, add, space, 0, 1);
        return;
    }
#pragma omp parallel
    part(c, c_row, a, a_row, a_column, b, b_row, b_column, m, n, k, add, space, omp_get_thread_num(),
         omp_get_num_threads());
}
