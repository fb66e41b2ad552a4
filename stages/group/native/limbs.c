/* Which candidates may be joined: every pair a limb could have, weighed by the field between them. */
#include "decode.h"

#include <math.h>
#include <stdlib.h>

/* What is known of all pairs of one start and each end of a limb. */
typedef struct {
    float *dx, *dy, *least;
    int32_t *middle;                /* the cell nearest to the point halfway */
} Glances;

/* One limb's field: x and y of each cell side by side, and a row and a column of zeros beyond the last ones, so that
 * each cell has others to the right and below. */
typedef struct {
    float *xy;
    int height, width, line;
} Field;

/* A candidate, counted from the first cell's centre and not beyond those of the edge cells, so that no point between
 * two of them lies outside. */
typedef struct {
    float x, y;
} Point;

static float clipped(float position, int size)
{
    const float from_centre = position - 0.5f, most = (float)(size - 1);
    return from_centre > 0.0f ? from_centre < most ? from_centre : most : 0.0f;
}

static void put_side_by_side(const float *restrict x, const float *restrict y, float *restrict xy, int count)
{
    for (int i = 0; i < count; i++) {
        xy[2 * i] = fabsf(x[i]) <= MOST_FIELD ? x[i] : 0.0f;
        xy[2 * i + 1] = fabsf(y[i]) <= MOST_FIELD ? y[i] : 0.0f;
    }
}

static void read_field(const Maps *maps, const Limb *limb, Field *field)
{
    const size_t height = (size_t)maps->height, width = (size_t)maps->width;
    const float *x = maps->pafs + (size_t)limb->x_channel * height * width;
    const float *y = maps->pafs + (size_t)limb->y_channel * height * width;
    for (size_t row = 0; row < height; row++)
        put_side_by_side(x + row * width, y + row * width, field->xy + row * 2 * (size_t)field->line, maps->width);
}

static void glance(const float *restrict x, const float *restrict y, int count, Point start, int line,
                   float threshold, Glances *glances)
{
    float *restrict dx = glances->dx, *restrict dy = glances->dy, *restrict least = glances->least;
    int32_t *restrict middle = glances->middle;
    for (int end = 0; end < count; end++) {
        dx[end] = x[end] - start.x;
        dy[end] = y[end] - start.y;
        const int32_t column = (int32_t)(0.5f * (start.x + x[end]) + 0.5f);
        const int32_t row = (int32_t)(0.5f * (start.y + y[end]) + 0.5f);
        middle[end] = row * line + column;
        least[end] = threshold * sqrtf(dx[end] * dx[end] + dy[end] * dy[end]);
    }
}

/* Sample the field along a pair, SAMPLES times, bilinearly: its part along the limb, times the limb's length. */
static void sample(const Field *field, Point start, float dx, float dy, float *restrict along)
{
    float x_beyond[SAMPLES], y_beyond[SAMPLES];
    int32_t cell[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        const float step = (float)(i + 1) / (float)(SAMPLES + 1);
        const float x = start.x + step * dx, y = start.y + step * dy;
        const int32_t column = (int32_t)x, row = (int32_t)y;
        x_beyond[i] = x - (float)column;
        y_beyond[i] = y - (float)row;
        cell[i] = row * field->line + column;
    }
    for (int i = 0; i < SAMPLES; i++) {
        const float *upper = field->xy + 2 * (ptrdiff_t)cell[i], *lower = upper + 2 * (ptrdiff_t)field->line;
        const float x_upper = upper[0] + x_beyond[i] * (upper[2] - upper[0]);
        const float y_upper = upper[1] + x_beyond[i] * (upper[3] - upper[1]);
        const float x_lower = lower[0] + x_beyond[i] * (lower[2] - lower[0]);
        const float y_lower = lower[1] + x_beyond[i] * (lower[3] - lower[1]);
        along[i] = (x_upper + y_beyond[i] * (x_lower - x_upper)) * dx + (y_upper + y_beyond[i] * (y_lower - y_upper)) * dy;
    }
}

/* Give the mean of the field along a pair; −1 where too few samples agree. */
static float looked_at(const Field *field, Point start, float dx, float dy, float threshold, int least_agreeing)
{
    const float distance = sqrtf(dx * dx + dy * dy);
    const float length = distance > SHORTEST_MAP ? distance : SHORTEST_MAP;
    const float least = threshold * length;
    float along[SAMPLES];
    sample(field, start, dx, dy, along);
    int agreeing = 0;
    for (int i = 0; i < SAMPLES; i++)
        agreeing += along[i] > least;
    if (agreeing < least_agreeing)
        return -1.0f;
    float total = along[0];
    for (int i = 1; i < SAMPLES; i++)
        total += along[i];
    return total / (length * (float)SAMPLES);
}

static int add_connection(Connections *connections, Connection connection)
{
    if (connections->count == connections->capacity) {
        const size_t capacity = connections->capacity ? 2 * connections->capacity : 256;
        Connection *list = realloc(connections->list, capacity * sizeof *list);
        if (!list)
            return -1;
        connections->list = list;
        connections->capacity = capacity;
    }
    connections->list[connections->count++] = connection;
    return 0;
}

/* Weigh all pairs of one limb: a glance at the field halfway tells most pairs of two people in a crowd. */
static int weigh_limb(const Field *field, const Limb *limb, int number, const Settings *settings, const Peaks *peaks,
                      const Point *points, float *x, float *y, Glances *glances, Connections *connections)
{
    const int first_end = peaks->first[limb->end], ends = peaks->first[limb->end + 1] - first_end;
    for (int end = 0; end < ends; end++) {
        x[end] = points[first_end + end].x;
        y[end] = points[first_end + end].y;
    }
    for (int start = peaks->first[limb->start]; start < peaks->first[limb->start + 1]; start++) {
        const float height = peaks->score[start];
        glance(x, y, ends, points[start], field->line, settings->limb_threshold, glances);
        for (int end = 0; end < ends; end++) {
            const float dx = glances->dx[end], dy = glances->dy[end];
            const float *middle = field->xy + 2 * (ptrdiff_t)glances->middle[end];
            if (!(middle[0] * dx + middle[1] * dy > glances->least[end]))
                continue;
            const float score =
                looked_at(field, points[start], dx, dy, settings->limb_threshold, settings->least_agreeing);
            const float other = peaks->score[first_end + end];
            const float weight = score * (height < other ? height : other);
            const Connection found = {number, start, first_end + end, score < 1.0f ? score : 1.0f, weight};
            if (weight > 0 && add_connection(connections, found))
                return -1;
        }
    }
    return 0;
}

/* Put the weightiest first; equal weights keep the order of the pairs. */
static int sort_connections(Connections *connections)
{
    const size_t count = connections->count;
    Entry *order = malloc((count + 1) * sizeof *order);
    Connection *sorted = malloc((count + 1) * sizeof *sorted);
    int failed = !order || !sorted;
    for (size_t i = 0; i < count && !failed; i++) {
        const Entry entry = {key_of_float(connections->list[i].weight), (uint32_t)i};
        order[i] = entry;
    }
    failed = failed || sort_descending(order, count);
    for (size_t i = 0; i < count && !failed; i++)
        sorted[i] = connections->list[order[i].item];
    free(order);
    if (failed) {
        free(sorted);
        return -1;
    }
    free(connections->list);
    connections->list = sorted;
    connections->capacity = count + 1;
    return 0;
}

static int weigh_limbs(const Maps *maps, const Settings *settings, const Peaks *peaks, Connections *connections,
                       Field *field, float *numbers, Point *points)
{
    const size_t most = (size_t)settings->most_peaks_per_part;
    float *x = numbers, *y = x + most;
    Glances glances = {y + most, y + 2 * most, y + 3 * most, (int32_t *)(void *)(y + 4 * most)};
    for (int number = 0; number < peaks->count; number++) {
        points[number].x = clipped(peaks->x[number], maps->width);
        points[number].y = clipped(peaks->y[number], maps->height);
    }
    for (int number = 0; number < maps->limb_count; number++) {
        const Limb *limb = &maps->limbs[number];
        if (peaks->first[limb->start] == peaks->first[limb->start + 1] ||
            peaks->first[limb->end] == peaks->first[limb->end + 1])
            continue;
        read_field(maps, limb, field);
        if (weigh_limb(field, limb, number, settings, peaks, points, x, y, &glances, connections))
            return -1;
    }
    return sort_connections(connections);
}

int find_connections(const Maps *maps, const Settings *settings, const Peaks *peaks, Connections *connections)
{
    const size_t most = (size_t)settings->most_peaks_per_part;
    Field field = {NULL, maps->height, maps->width, maps->width + 1};
    field.xy = calloc(((size_t)maps->height + 1) * (size_t)field.line * 2, sizeof *field.xy);
    float *numbers = malloc(6 * most * sizeof *numbers);
    Point *points = malloc(((size_t)peaks->count + 1) * sizeof *points);
    const int failed =
        !field.xy || !numbers || !points || weigh_limbs(maps, settings, peaks, connections, &field, numbers, points);
    free(field.xy);
    free(numbers);
    free(points);
    return failed ? -1 : 0;
}
