/* The kernels, as they call each other. Called by one of several threads, each is that thread's work
   alone; called by a single one, it shares its work among all, if `is_shared`. */

#ifndef KERNELS_H
#define KERNELS_H

#include <omp.h>
#include <stdint.h>
#include <stdlib.h>

typedef int64_t i64;

static inline i64 least(i64 a, i64 b) { return a < b ? a : b; }

enum { LITTLE = 4096 }; /* floats for which other threads are not woken */

/* Within a region even of one thread, to which OpenMP may shrink any, there is room for one alone. */
static inline int is_shared(i64 floats) { return floats > LITTLE && !omp_get_level(); }

/* Room for so many floats; null without memory */
static inline float *room_for(i64 floats) { return aligned_alloc(64, (4 * floats + 63) / 64 * 64); }

void product(float *c, i64 c_row, const float *a, i64 a_row, i64 a_column, const float *b, i64 b_row,
             i64 b_column, i64 m, i64 n, i64 k, int add, float *space);
void symmetric_product(float *c, const float *a, i64 a_row, const float *b, i64 b_row, i64 b_column, i64 n,
                       i64 k, float *space);
i64 product_room(i64 n, i64 threads);

int attention_forward(float *out, float *lse, const float *qk, i64 qk_row, const float *v, i64 v_row,
                      const float *mask, i64 batch, i64 time, i64 heads, i64 channels);
int attention_backward(float *dqk, i64 dqk_row, float *dv, i64 dv_row, const float *grad,
                       const float *out, const float *lse, const float *qk, i64 qk_row,
                       const float *v, i64 v_row, const float *mask, i64 batch, i64 time, i64 heads,
                       i64 channels);

typedef void activation_forward(float *y, const float *x, i64 count);
typedef void activation_both(float *y, float *slope, const float *x, i64 count);
activation_forward gelu_forward, relu_forward, squared_relu_forward, silu_forward;
activation_both gelu_both, relu_both, squared_relu_both, silu_both;

void layer_norm_forward(float *y, float *mean, float *scale, const float *x, const float *weight,
                        const float *bias, i64 rows, i64 channels, float eps);
void layer_norm_backward(float *dx, float *dweight, float *dbias, const float *grad,
                         const float *through, const float *x, const float *weight,
                         const float *mean, const float *scale, i64 rows, i64 channels, i64 parts);
void rms_rotate_forward(float *y, i64 y_row, float *scale, const float *x, i64 x_row,
                        const float *cosines, const float *sines, i64 tokens, i64 time, i64 groups,
                        i64 channels, float eps, float rms);
void rms_rotate_backward(float *dx, i64 dx_row, const float *grad, i64 grad_row, const float *y,
                         i64 y_row, const float *scale, const float *cosines, const float *sines,
                         i64 tokens, i64 time, i64 groups, i64 channels, float rms);

#endif
