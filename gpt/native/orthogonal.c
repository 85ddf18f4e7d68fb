/* Newton-Schulz iterations that make matrices orthogonal, for Muon. */

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "vectors.h"

/* c = a b, all (rows, rows), symmetric, and a and b such that it does not matter which comes first */
static void commuting(float *c, const float *a, const float *b, i64 rows, float *space) {
    symmetric_product(c, a, rows, b, rows, 1, rows, rows, space);
}

/* p = a I + b g + c g g, all (rows, rows) */
static void polynomial(float *p, const float *g, i64 rows, const float abc[3], float *space) {
    commuting(p, g, g, rows, space);
    for (i64 i = 0; i < rows * rows; i += LANES)
        store(p + i, abc[2] * load(p + i) + abc[1] * load(g + i));
    for (i64 i = 0; i < rows; i++)
        p[i * rows + i] += abc[0];
}

/* c (rows, columns) = a (rows, rows) times b (rows, columns) */
static void times(float *c, const float *a, const float *b, i64 rows, i64 columns, float *space) {
    product(c, columns, a, rows, 1, b, columns, 1, rows, columns, rows, 0, space);
}

/* g (rows, rows) = x x' */
static void gram(float *g, const float *x, i64 rows, i64 columns, float *space) {
    symmetric_product(g, x, columns, x, 1, columns, rows, columns, space);
}

static void swap(float **a, float **b) {
    float *c = *a;
    *a = *b;
    *b = c;
}

/* x (rows, columns) over its norm, into y */
static void shorten(float *y, const float *x, i64 count) {
    double squares[LANES] = {0}, all = 0;
    for (i64 i = 0; i < count; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            squares[lane] += (double)x[i + lane] * x[i + lane];
    for (int lane = 0; lane < LANES; lane++)
        all += squares[lane];
    const float scale = 1 / ((float)sqrt(all) + 1e-7f);
    for (i64 i = 0; i < count; i++)
        y[i] = scale * x[i];
}

static i64 room(i64 rows, i64 columns) {
    return rows * columns + 4 * rows * rows + product_room(columns, omp_get_max_threads());
}

/* A step takes x to p x, where p is a polynomial of g = x x'. All of these p and g commute, so where x
   is wide the steps are made with the small g alone, g to p g p, and x is multiplied once, at last. */
static void orthogonalise(float *out, const float *in, i64 rows, i64 columns, i64 steps,
                          const float abc[3], float *space) {
    const i64 square = rows * rows;
    float *x = space, *g = x + rows * columns, *p = g + square, *all = p + square;
    float *spare = all + square, *rest = spare + square, *y = out;
    shorten(x, in, rows * columns);
    gram(g, x, rows, columns, rest);
    for (i64 step = 0; step < steps; step++) {
        const int last = step == steps - 1;
        polynomial(p, g, rows, abc, rest);
        if (columns < 2 * rows) {
            times(y, p, x, rows, columns, rest);
            swap(&x, &y);
            if (!last)
                gram(g, x, rows, columns, rest);
            continue;
        }
        if (step) {
            commuting(spare, p, all, rows, rest);
            swap(&spare, &all);
        } else
            memcpy(all, p, 4 * square);
        if (!last) {
            commuting(spare, p, g, rows, rest);
            commuting(g, spare, p, rows, rest);
        }
    }
    if (columns >= 2 * rows)
        times(out, all, x, rows, columns, rest);
    else if (x != out)
        memcpy(out, x, 4 * rows * columns);
}

/* out = the matrices in (count, rows, columns), each nearly orthogonal after so many steps of the
   quintic iteration with these coefficients; rows are at most columns, and both multiples of LANES.
   0, or 1 without memory. */
int orthogonalise_all(float *out, const float *in, i64 count, i64 rows, i64 columns, i64 steps,
                      float a, float b, float c) {
    int failed = 0;
    const float abc[] = {a, b, c};
#pragma omp parallel
    {
        float *space = room_for(room(rows, columns));
        if (!space)
            failed = 1;
#pragma omp for schedule(static, 1)
        for (i64 i = 0; i < count; i++)
            if (space)
                orthogonalise(out + i * rows * columns, in + i * rows * columns, rows, columns, steps,
                              abc, space);
        free(space);
    }
    return failed;
}
