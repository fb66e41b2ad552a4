/* Zoom: one heatmap after the other at twice its resolution, only where it may be above the threshold. */
#include "zoom.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Takes up what rounding adds to a sum of TAPS · TAPS products. */
#define SLACK 0.999f
/* Below this threshold products may vanish, which SLACK does not cover: every cell but zeros matters then. */
#define LEAST_THRESHOLD 1e-30f

static int32_t size_bits(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7fffffff;
}

/* True if some value's size is above the limit, or is no number. As whole numbers, which compilers make vectors of. */
static int any_above(const float *values, size_t count, float limit)
{
    const int32_t limit_bits = size_bits(limit);
    int32_t above = 0;
    for (size_t i = 0; i < count; i++)
        above |= limit_bits - size_bits(values[i]);
    return above < 0;
}

/* The most that the sizes of a row of weights sum up to. */
static float greatest_gain(const float *taps, int count)
{
    float greatest = 0;
    for (int i = 0; i < count; i++) {
        float gain = 0;
        for (int tap = 0; tap < TAPS; tap++)
            gain += fabsf(taps[i * TAPS + tap]);
        greatest = gain > greatest ? gain : greatest;
    }
    return greatest;
}

/* Find the cells around the middle that have its weights: those far enough from the edges. */
static Span uniform_span(const float *across, int width)
{
    const size_t pair = ZOOM * TAPS;
    const float *middle = across + (size_t)(width / 2) * pair;
    Span span = {width / 2, width / 2 + 1};
    while (span.low > 0 && !memcmp(across + (size_t)(span.low - 1) * pair, middle, pair * sizeof *middle))
        span.low--;
    while (span.high < width && !memcmp(across + (size_t)span.high * pair, middle, pair * sizeof *middle))
        span.high++;
    return span;
}

int zoom_start(Zoom *zoom, const Maps *maps, float threshold)
{
    const size_t height = (size_t)maps->height, width = (size_t)maps->width;
    memset(zoom, 0, sizeof *zoom);
    zoom->maps = maps;
    zoom->line = ZOOM * width + 2;
    zoom->zoomed = calloc((ZOOM * height + 2) * zoom->line, sizeof *zoom->zoomed);
    zoom->padded = calloc(width + 2 * REACH, sizeof *zoom->padded);
    zoom->wide = calloc((height + 2 * REACH) * ZOOM * width, sizeof *zoom->wide);
    zoom->active = calloc(height, sizeof *zoom->active);
    zoom->computed = calloc(height, sizeof *zoom->computed);
    if (!zoom->zoomed || !zoom->padded || !zoom->wide || !zoom->active || !zoom->computed) {
        zoom_end(zoom);
        return -1;
    }
    zoom->uniform = uniform_span(maps->across, maps->width);
    const float gain = greatest_gain(maps->across, ZOOM * maps->width) * greatest_gain(maps->down, ZOOM * maps->height);
    zoom->least = threshold < LEAST_THRESHOLD ? 0.0f : SLACK * threshold / gain;
    return 0;
}

void zoom_end(Zoom *zoom)
{
    free(zoom->zoomed);
    free(zoom->padded);
    free(zoom->wide);
    free(zoom->active);
    free(zoom->computed);
}

/* Find the first and the last cell of a row that can matter; those that are no numbers are among them. */
static Span active_span(const float *row, int width, float least)
{
    Span span = {0, 0};
    if (!any_above(row, (size_t)width, least))
        return span;
    span.high = width;
    while (size_bits(row[span.low]) <= size_bits(least))
        span.low++;
    while (size_bits(row[span.high - 1]) <= size_bits(least))
        span.high--;
    return span;
}

static Span united(const Span *spans, int from, int to, int height)
{
    Span all = {MOST_SIDE, 0};
    for (int row = from < 0 ? 0 : from; row <= to && row < height; row++) {
        if (spans[row].high <= spans[row].low)
            continue;
        all.low = spans[row].low < all.low ? spans[row].low : all.low;
        all.high = spans[row].high > all.high ? spans[row].high : all.high;
    }
    return all;
}

/* Bring a row of cells to ZOOM·width, each zoomed cell by weights of its own. */
static void widen_edge(const float *restrict padded, const float *restrict across, float *restrict wide, Span span)
{
    for (int cell = span.low; cell < span.high; cell++)
        for (int phase = 0; phase < ZOOM; phase++) {
            const float *weights = across + (size_t)(ZOOM * cell + phase) * TAPS;
            float sum = padded[cell] * weights[0];
            for (int tap = 1; tap < TAPS; tap++)
                sum += padded[cell + tap] * weights[tap];
            wide[ZOOM * cell + phase] = sum;
        }
}

/* The same where all cells have the same weights. */
static void widen_inner(const float *restrict padded, const float *restrict weights, float *restrict wide, Span span)
{
    for (int cell = span.low; cell < span.high; cell++) {
        float even = padded[cell] * weights[0], odd = padded[cell] * weights[TAPS];
        for (int tap = 1; tap < TAPS; tap++) {
            even += padded[cell + tap] * weights[tap];
            odd += padded[cell + tap] * weights[TAPS + tap];
        }
        wide[ZOOM * cell] = even;
        wide[ZOOM * cell + 1] = odd;
    }
}

static void widen(const Zoom *zoom, const float *row, float *wide, Span span)
{
    const Maps *maps = zoom->maps;
    const Span uniform = zoom->uniform;
    if (span.high <= span.low)
        return;
    for (int cell = 0; cell < maps->width; cell++)
        zoom->padded[REACH + cell] = fabsf(row[cell]) <= MOST_FIELD ? row[cell] : 0.0f;
    const Span left = {span.low, span.high < uniform.low ? span.high : uniform.low};
    const Span inner = {span.low > uniform.low ? span.low : uniform.low,
                        span.high < uniform.high ? span.high : uniform.high};
    const Span right = {span.low > uniform.high ? span.low : uniform.high, span.high};
    widen_edge(zoom->padded, maps->across, wide, left);
    widen_inner(zoom->padded, maps->across + (size_t)uniform.low * ZOOM * TAPS, wide, inner);
    widen_edge(zoom->padded, maps->across, wide, right);
}

/* Make both zoomed rows of a row of cells out of the TAPS widened rows around it. */
static void heighten(const float *restrict wide, size_t wide_line, const float *restrict weights,
                     float *restrict upper, float *restrict lower, int count)
{
    const float *w0 = wide, *w1 = w0 + wide_line, *w2 = w1 + wide_line, *w3 = w2 + wide_line;
    const float *w4 = w3 + wide_line, *w5 = w4 + wide_line, *w6 = w5 + wide_line;
    for (int i = 0; i < count; i++) {
        float first = w0[i] * weights[0], second = w0[i] * weights[TAPS];
        first += w1[i] * weights[1];
        second += w1[i] * weights[TAPS + 1];
        first += w2[i] * weights[2];
        second += w2[i] * weights[TAPS + 2];
        first += w3[i] * weights[3];
        second += w3[i] * weights[TAPS + 3];
        first += w4[i] * weights[4];
        second += w4[i] * weights[TAPS + 4];
        first += w5[i] * weights[5];
        second += w5[i] * weights[TAPS + 5];
        first += w6[i] * weights[6];
        second += w6[i] * weights[TAPS + 6];
        upper[i] = first;
        lower[i] = second;
    }
}

void zoom_map(Zoom *zoom, const float *map)
{
    const int height = zoom->maps->height, width = zoom->maps->width;
    const size_t wide_line = (size_t)ZOOM * (size_t)width;
    for (int row = 0; row < height; row++)
        zoom->active[row] = active_span(map + (size_t)row * (size_t)width, width, zoom->least);
    for (int row = 0; row < height; row++) {
        /* What a cell of the map reaches, and one more for the neighbours. */
        Span span = united(zoom->active, row - REACH - 1, row + REACH + 1, height);
        span.low = span.low > REACH + 1 ? span.low - REACH - 1 : 0;
        span.high = !span.high ? 0 : span.high + REACH + 1 < width ? span.high + REACH + 1 : width;
        zoom->computed[row] = span;
    }
    for (int row = 0; row < height; row++) {
        const Span span = united(zoom->computed, row - REACH, row + REACH, height);
        widen(zoom, map + (size_t)row * (size_t)width, zoom->wide + (size_t)(row + REACH) * wide_line, span);
    }
    for (int row = 0; row < height; row++) {
        const Span span = zoom->computed[row];
        if (span.high <= span.low)
            continue;
        const size_t begin = (size_t)ZOOM * (size_t)span.low;
        float *upper = zoom->zoomed + (size_t)(ZOOM * row + 1) * zoom->line + 1 + begin;
        heighten(zoom->wide + (size_t)row * wide_line + begin, wide_line, zoom->maps->down + (size_t)row * ZOOM * TAPS,
                 upper, upper + zoom->line, ZOOM * (span.high - span.low));
    }
}
