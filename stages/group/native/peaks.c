/* Where keypoints may be: the local maxima of the zoomed heatmaps, to a fraction of a cell. */
#include "zoom.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOG_2 0.6931471805599453

/* A maximum of one map: its height and where it is. */
typedef struct {
    float height;
    int row, column;                /* of zoomed cells, from 0 */
    double x_offset, y_offset;      /* zoomed cells from its centre */
} Maximum;

typedef struct {
    Maximum *list;
    Entry *order;
    size_t count, capacity;
} Maxima;

/* The natural logarithm, as the NumPy decoder has it. */
static double log_of(float value)
{
    static const double share[] = {1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3};
    int exponent;
    const double mantissa = frexp((double)(value > LOG_FLOOR ? value : LOG_FLOOR), &exponent);
    const double t = (mantissa - 1.0) / (mantissa + 1.0);
    const double squared = t * t;
    double series = share[0];
    for (size_t i = 1; i < sizeof share / sizeof *share; i++) {
        series *= squared;
        series += share[i];
    }
    series *= squared;
    series += 1.0;
    return exponent * LOG_2 + 2.0 * (t * series);
}

/* Give the bend of the parabola through three neighbours' logarithms, and where its top is. */
static double log_parabola(double before, double middle, double after, double *top)
{
    const double bend = 2.0 * middle - before - after;
    const double place = 0.5 * (after - before) / (bend > LEAST_BEND ? bend : LEAST_BEND);
    *top = place < -0.5 ? -0.5 : place > 0.5 ? 0.5 : place;
    return bend;
}

static Maximum maximum_at(const Zoom *zoom, const float *cell, int row, int column, double *least_bend)
{
    Maximum found = {*cell, row, column, 0, 0};
    const ptrdiff_t line = (ptrdiff_t)zoom->line;
    const double middle = log_of(*cell);
    double x_top, y_top;
    const double x_bend = log_parabola(log_of(cell[-1]), middle, log_of(cell[1]), &x_top);
    const double y_bend = log_parabola(log_of(cell[-line]), middle, log_of(cell[line]), &y_top);
    *least_bend = x_bend < y_bend ? x_bend : y_bend;
    /* The parabola needs both neighbours inside. */
    if (column > 0 && column < ZOOM * zoom->maps->width - 1)
        found.x_offset = x_top;
    if (row > 0 && row < ZOOM * zoom->maps->height - 1)
        found.y_offset = y_top;
    return found;
}

static int add_maximum(Maxima *maxima, Maximum maximum)
{
    if (maxima->count == maxima->capacity) {
        const size_t capacity = maxima->capacity ? 2 * maxima->capacity : 64;
        Maximum *list = realloc(maxima->list, capacity * sizeof *list);
        if (!list)
            return -1;
        maxima->list = list;
        Entry *order = realloc(maxima->order, capacity * sizeof *order);
        if (!order)
            return -1;
        maxima->order = order;
        maxima->capacity = capacity;
    }
    const Entry entry = {key_of_float(maximum.height), (uint32_t)maxima->count};
    maxima->order[maxima->count] = entry;
    maxima->list[maxima->count++] = maximum;
    return 0;
}

/* Mark the cells above the threshold that no neighbour surpasses; of equal neighbours the first in scan order counts.
 * Without a branch, so that compilers make vectors of it. */
static void mark_maxima(const float *restrict cells, ptrdiff_t line, int count, float threshold, int32_t *restrict marks)
{
    const float *above = cells - line, *below = cells + line;
    for (int i = 0; i < count; i++) {
        const float value = cells[i];
        marks[i] = (value > threshold) & (value > cells[i - 1]) & (value >= cells[i + 1]) & (value > above[i - 1]) &
                   (value > above[i]) & (value > above[i + 1]) & (value >= below[i - 1]) & (value >= below[i]) &
                   (value >= below[i + 1]);
    }
}

static float x_of(const Maximum *maximum)
{
    return (float)(((double)maximum->column + 0.5 + maximum->x_offset) / ZOOM);
}

static float y_of(const Maximum *maximum)
{
    return (float)(((double)maximum->row + 0.5 + maximum->y_offset) / ZOOM);
}

/* Find all maxima in the picture of the map that was zoomed last. */
static int find_maxima(const Zoom *zoom, float threshold, const View *view, int32_t *marks, Maxima *maxima)
{
    maxima->count = 0;
    for (int row = 0; row < ZOOM * zoom->maps->height; row++) {
        const Span span = zoom->computed[row / ZOOM];
        const int begin = ZOOM * span.low, count = ZOOM * span.high - begin;
        const float *cells = zoom->zoomed + (size_t)(row + 1) * zoom->line + 1 + (count > 0 ? begin : 0);
        mark_maxima(cells, (ptrdiff_t)zoom->line, count, threshold, marks);
        for (int i = 0; i < count; i++) {
            if (!marks[i])
                continue;
            double least_bend;
            const Maximum found = maximum_at(zoom, cells + i, row, begin + i, &least_bend);
            const int is_inside = x_of(&found) < view->x_edge_map && y_of(&found) < view->y_edge_map;
            if (least_bend > LEAST_BEND && is_inside && add_maximum(maxima, found))
                return -1;
        }
    }
    return sort_descending(maxima->order, maxima->count);
}

/* True where a zoomed cell's centre lies in the picture. */
static int is_before(int cell, float edge_map)
{
    return ((double)cell + 0.5) / ZOOM < (double)edge_map;
}

/* Find the highest cell in the picture alone, of equals the first. */
static int find_highest(const Zoom *zoom, float threshold, const View *view, Maxima *maxima)
{
    const float *highest = NULL;
    int highest_row = 0, highest_column = 0;
    maxima->count = 0;
    for (int row = 0; row < ZOOM * zoom->maps->height && is_before(row, view->y_edge_map); row++) {
        const Span span = zoom->computed[row / ZOOM];
        const float *cells = zoom->zoomed + (size_t)(row + 1) * zoom->line + 1;
        for (int column = ZOOM * span.low; column < ZOOM * span.high && is_before(column, view->x_edge_map); column++)
            if (cells[column] > (highest ? *highest : threshold)) {
                highest = cells + column;
                highest_row = row;
                highest_column = column;
            }
    }
    double bend;
    return highest ? add_maximum(maxima, maximum_at(zoom, highest, highest_row, highest_column, &bend)) : 0;
}

static void add_peak(Peaks *peaks, int part, const Maximum *maximum)
{
    const int number = peaks->count++;
    peaks->part[number] = part;
    peaks->x[number] = x_of(maximum);
    peaks->y[number] = y_of(maximum);
    peaks->score[number] = maximum->height < 1.0f ? maximum->height : 1.0f;
}

static int reserve_peaks(Peaks *peaks, int capacity)
{
    peaks->capacity = capacity;
    peaks->x = malloc((size_t)capacity * sizeof *peaks->x);
    peaks->y = malloc((size_t)capacity * sizeof *peaks->y);
    peaks->score = malloc((size_t)capacity * sizeof *peaks->score);
    peaks->part = malloc((size_t)capacity * sizeof *peaks->part);
    return peaks->x && peaks->y && peaks->score && peaks->part ? 0 : -1;
}

void free_peaks(Peaks *peaks)
{
    free(peaks->x);
    free(peaks->y);
    free(peaks->score);
    free(peaks->part);
}

int find_peaks(const Maps *maps, const Settings *settings, const View *view, Peaks *peaks)
{
    const size_t cells = (size_t)maps->height * (size_t)maps->width;
    const size_t most = (size_t)settings->most_peaks_per_part;
    Zoom zoom;
    Maxima maxima = {0};
    if (reserve_peaks(peaks, maps->parts * settings->most_peaks_per_part))
        return -1;
    int32_t *marks = malloc(ZOOM * (size_t)maps->width * sizeof *marks);
    if (!marks || zoom_start(&zoom, maps, settings->peak_threshold)) {
        free(marks);
        return -1;
    }
    int failed = 0;
    for (int part = 0; part < maps->parts && !failed; part++) {
        zoom_map(&zoom, maps->heatmaps + (size_t)part * cells);
        failed = settings->single_person ? find_highest(&zoom, settings->peak_threshold, view, &maxima)
                                         : find_maxima(&zoom, settings->peak_threshold, view, marks, &maxima);
        peaks->first[part] = peaks->count;
        for (size_t i = 0; i < maxima.count && i < most && !failed; i++)
            add_peak(peaks, part, &maxima.list[maxima.order[i].item]);
        peaks->truncated |= maxima.count > most;
    }
    peaks->first[maps->parts] = peaks->count;
    zoom_end(&zoom);
    free(marks);
    free(maxima.list);
    free(maxima.order);
    return failed;
}
