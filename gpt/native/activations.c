/* Activations in float32, each one pass over memory forward and one backward. */

#include <math.h>

#include "kernels.h"
#include "vectors.h"

/* The standard normal distribution up to x, and its density there. Abramowitz and Stegun, 7.1.26
   (absolute error 1.5e-7), for the exponential of which the density has a use as well. */
static inline vec normal(vec x, vec *density) {
    vec size = (vec)((ints)x & 0x7fffffff);
    vec bell = exponential(-0.5f * x * x);
    vec t = 1.0f / (1.0f + 0.231641888f * size);
    vec tail = all(1.061405429f);
    tail = tail * t - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = tail * t + 0.254829592f;
    tail = 0.5f * tail * t * bell;
    *density = 0.398942280f * bell;
    return choose(x < (vec){0}, tail, 1.0f - tail);
}

static inline vec gelu(vec x) {
    vec density;
    return x * normal(x, &density);
}

static inline vec gelu_slope(vec x) {
    vec density, below = normal(x, &density);
    return below + x * density;
}

static inline vec positive(vec x) { return choose(x < (vec){0}, (vec){0}, x); }

static inline vec relu(vec x) { return positive(x); }

static inline vec relu_slope(vec x) { return choose((vec){0} < x, all(1), (vec){0}); }

static inline vec squared_relu(vec x) { return positive(x) * positive(x); }

static inline vec squared_relu_slope(vec x) { return 2.0f * positive(x); }

static inline vec sigmoid(vec x) {
    vec size = (vec)((ints)x & 0x7fffffff), small = exponential(-size), share = 1.0f / (1.0f + small);
    return choose(x < (vec){0}, small * share, share);
}

static inline vec silu(vec x) { return x * sigmoid(x); }

static inline vec silu_slope(vec x) {
    vec share = sigmoid(x);
    return share + x * share * (1.0f - share);
}

/* y = f(x), and the same with slope = f'(x), which may be in the memory of x; each of `count` floats, a
   multiple of LANES */
#define ACTIVATION(f)                                                                              \
    void f##_forward(float *y, const float *x, i64 count) {                                        \
        _Pragma("omp parallel for schedule(static) if (is_shared(count))")                         \
        for (i64 i = 0; i < count; i += LANES)                                                     \
            store(y + i, f(load(x + i)));                                                          \
    }                                                                                              \
    void f##_both(float *y, float *slope, const float *x, i64 count) {                             \
        _Pragma("omp parallel for schedule(static) if (is_shared(count))")                         \
        for (i64 i = 0; i < count; i += LANES) {                                                   \
            vec at = load(x + i);                                                                  \
            store(y + i, f(at));                                                                   \
            store(slope + i, f##_slope(at));                                                       \
        }                                                                                          \
    }

/* dx = grad * f'(x), for those that are called by themselves */
#define ACTIVATION_BACKWARD(f)                                                                     \
    void f##_backward(float *dx, const float *grad, const float *x, i64 count) {                   \
        _Pragma("omp parallel for schedule(static) if (is_shared(count))")                         \
        for (i64 i = 0; i < count; i += LANES)                                                     \
            store(dx + i, load(grad + i) * f##_slope(load(x + i)));                                \
    }

ACTIVATION(gelu)
ACTIVATION(relu)
ACTIVATION(squared_relu)
ACTIVATION(silu)
ACTIVATION_BACKWARD(gelu)
ACTIVATION_BACKWARD(squared_relu)
