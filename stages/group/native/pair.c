/* Which connections come first: those of each limb's own pairing of its starts with its ends. */
#include "decode.h"

#include <stdlib.h>

/* One limb's connections, the weightiest first, and its pairing; arrays by candidate hold connections, or −1. */
typedef struct {
    const Peaks *peaks;
    const Connection *list;
    const int32_t *numbers;         /* the limb's connections among all */
    int count;
    int32_t *of_start, *of_end, *other_of_start, *other_of_end;
    int32_t *joining;               /* starts × ends: the connection between them */
    int first_start, starts, first_end, ends;
    uint8_t *is_promising;
} Pairing;

static double square_of(const Pairing *pairing, int32_t number)
{
    const Connection *connection = &pairing->list[number];
    const Peaks *peaks = pairing->peaks;
    const double dx = (double)peaks->x[connection->end] - (double)peaks->x[connection->start];
    const double dy = (double)peaks->y[connection->end] - (double)peaks->y[connection->start];
    return dx * dx + dy * dy;
}

static double weight_of(const Pairing *pairing, int32_t number)
{
    return (double)pairing->list[number].weight;
}

static int32_t *joining(const Pairing *pairing, int start, int end)
{
    const size_t row = (size_t)(start - pairing->first_start);
    return &pairing->joining[row * (size_t)pairing->ends + (size_t)(end - pairing->first_end)];
}

static void put(Pairing *pairing, int32_t number, int32_t value)
{
    pairing->of_start[pairing->list[number].start] = value;
    pairing->of_end[pairing->list[number].end] = value;
}

static void take_weightiest(Pairing *pairing)
{
    for (int i = 0; i < pairing->starts * pairing->ends; i++)
        pairing->joining[i] = -1;
    for (int i = 0; i < pairing->starts; i++)
        pairing->of_start[pairing->first_start + i] = -1;
    for (int i = 0; i < pairing->ends; i++)
        pairing->of_end[pairing->first_end + i] = -1;
    for (int i = 0; i < pairing->count; i++) {
        const int32_t number = pairing->numbers[i];
        const Connection *connection = &pairing->list[number];
        *joining(pairing, connection->start, connection->end) = number;
        if (pairing->of_start[connection->start] < 0 && pairing->of_end[connection->end] < 0)
            put(pairing, number, number);
    }
}

/* Find the weightiest connections of paired candidates to others that are still alone. */
static void find_others(Pairing *pairing)
{
    for (int i = 0; i < pairing->starts; i++)
        pairing->other_of_start[pairing->first_start + i] = -1;
    for (int i = 0; i < pairing->ends; i++)
        pairing->other_of_end[pairing->first_end + i] = -1;
    for (int i = 0; i < pairing->count; i++) {
        const int32_t number = pairing->numbers[i];
        const Connection *connection = &pairing->list[number];
        const int has_start = pairing->of_start[connection->start] >= 0, has_end = pairing->of_end[connection->end] >= 0;
        if (has_start && !has_end && pairing->other_of_start[connection->start] < 0)
            pairing->other_of_start[connection->start] = number;
        if (has_end && !has_start && pairing->other_of_end[connection->end] < 0)
            pairing->other_of_end[connection->end] = number;
    }
}

/* Let a pair give way to the weightiest two that join its ends to others which are still alone. */
static int make_two_of_one(Pairing *pairing)
{
    int changes = 0;
    find_others(pairing);
    for (int i = 0; i < pairing->count; i++) {
        const int32_t pair = pairing->numbers[i];
        const Connection *connection = &pairing->list[pair];
        if (pairing->of_start[connection->start] != pair)
            continue;
        const int32_t one = pairing->other_of_start[connection->start], other = pairing->other_of_end[connection->end];
        if (one < 0 || other < 0 || pairing->of_end[pairing->list[one].end] >= 0 ||
            pairing->of_start[pairing->list[other].start] >= 0 ||
            !(weight_of(pairing, one) + weight_of(pairing, other) > weight_of(pairing, pair)))
            continue;
        put(pairing, pair, -1);
        put(pairing, one, one);
        put(pairing, other, other);
        changes++;
    }
    return changes;
}

/* Give what a change of pairs gains: by weight, and by something that should be more rather than less. */
static double gain(double weight, double instead_of, double better, double worse)
{
    const double share = (weight - instead_of) / (weight + instead_of);
    return share + ALIKE * ((better - worse) / (better + worse + LEAST_SQUARE));
}

/* What taking a connection would change. */
typedef struct {
    int32_t first, second;          /* the pairs of its start and its end, or −1 */
    int32_t other;                  /* the connection that comes with it, or −1 */
    double gain;
} Change;

static Change change_by(const Pairing *pairing, int32_t number)
{
    const Connection *connection = &pairing->list[number];
    Change change = {pairing->of_start[connection->start], pairing->of_end[connection->end], -1, -1.0};
    const int32_t first = change.first, second = change.second;
    if (first == number)
        return change;
    if (first < 0 && second < 0) {
        change.gain = 1.0;
    } else if (first < 0 || second < 0) {
        const int32_t old = first < 0 ? second : first;
        change.gain = gain(weight_of(pairing, number), weight_of(pairing, old), square_of(pairing, number),
                           square_of(pairing, old));
    } else {
        change.other = *joining(pairing, pairing->list[second].start, pairing->list[first].end);
        if (change.other < 0)
            return change;
        change.gain = gain(weight_of(pairing, number) + weight_of(pairing, change.other),
                           weight_of(pairing, first) + weight_of(pairing, second),
                           square_of(pairing, first) + square_of(pairing, second),
                           square_of(pairing, number) + square_of(pairing, change.other));
    }
    return change;
}

/* Take what gains: two for two, one for one, or one where neither end has any. */
static int exchange(Pairing *pairing)
{
    int changes = 0;
    for (int i = 0; i < pairing->count; i++)
        pairing->is_promising[i] = change_by(pairing, pairing->numbers[i]).gain > LEAST_GAIN;
    for (int i = 0; i < pairing->count; i++) {
        const int32_t number = pairing->numbers[i];
        if (!pairing->is_promising[i])
            continue;
        /* What was taken before may have changed it. */
        const Change change = change_by(pairing, number);
        if (!(change.gain > LEAST_GAIN))
            continue;
        if (change.first >= 0)
            put(pairing, change.first, -1);
        if (change.second >= 0)
            put(pairing, change.second, -1);
        put(pairing, number, number);
        if (change.other >= 0)
            put(pairing, change.other, change.other);
        changes++;
    }
    return changes;
}

static void pair_limb(Pairing *pairing)
{
    take_weightiest(pairing);
    for (int round = 0; round < ROUNDS; round++) {
        const int changes = make_two_of_one(pairing);
        if (!(exchange(pairing) + changes))
            return;
    }
}

/* List each limb's connections in their order; limb k's are numbers[first[k]] … numbers[first[k + 1] − 1]. */
static void list_by_limb(const Connections *connections, int limbs, int32_t *numbers, size_t *first)
{
    size_t place[MOST_LIMBS];
    for (int limb = 0; limb <= limbs; limb++)
        first[limb] = 0;
    for (size_t i = 0; i < connections->count; i++)
        first[connections->list[i].limb + 1]++;
    for (int limb = 0; limb < limbs; limb++) {
        place[limb] = first[limb];
        first[limb + 1] += first[limb];
    }
    for (size_t i = 0; i < connections->count; i++)
        numbers[place[connections->list[i].limb]++] = (int32_t)i;
}

/* Put the pairings' connections before the others. */
static void put_in_order(Connections *connections, const uint8_t *is_paired, Connection *ordered)
{
    size_t place = 0;
    for (int wanted = 1; wanted >= 0; wanted--)
        for (size_t i = 0; i < connections->count; i++)
            if (is_paired[i] == wanted)
                ordered[place++] = connections->list[i];
    free(connections->list);
    connections->list = ordered;
    connections->capacity = connections->count + 1;
}

static void pair_limbs(const Maps *maps, const Connections *connections, int32_t *numbers, Pairing *pairing,
                       uint8_t *is_paired)
{
    const Peaks *peaks = pairing->peaks;
    size_t first[MOST_LIMBS + 1];
    list_by_limb(connections, maps->limb_count, numbers, first);
    for (int number = 0; number < maps->limb_count; number++) {
        const Limb *limb = &maps->limbs[number];
        pairing->numbers = numbers + first[number];
        pairing->count = (int)(first[number + 1] - first[number]);
        if (!pairing->count)
            continue;
        pairing->first_start = peaks->first[limb->start];
        pairing->starts = peaks->first[limb->start + 1] - pairing->first_start;
        pairing->first_end = peaks->first[limb->end];
        pairing->ends = peaks->first[limb->end + 1] - pairing->first_end;
        pair_limb(pairing);
        for (int i = 0; i < pairing->count; i++) {
            const int32_t each = pairing->numbers[i];
            is_paired[each] = pairing->of_start[pairing->list[each].start] == each;
        }
    }
}

int put_paired_first(const Maps *maps, const Settings *settings, const Peaks *peaks, Connections *connections)
{
    const size_t most = (size_t)settings->most_peaks_per_part, candidates = (size_t)peaks->count + 1;
    int32_t *numbers = malloc((connections->count + 1) * sizeof *numbers);
    uint8_t *flags = malloc(2 * (connections->count + 1));
    int32_t *tables = malloc((4 * candidates + most * most) * sizeof *tables);
    Connection *ordered = malloc((connections->count + 1) * sizeof *ordered);
    if (!numbers || !flags || !tables || !ordered) {
        free(numbers);
        free(flags);
        free(tables);
        free(ordered);
        return -1;
    }
    Pairing pairing = {.peaks = peaks,
                       .list = connections->list,
                       .of_start = tables,
                       .of_end = tables + candidates,
                       .other_of_start = tables + 2 * candidates,
                       .other_of_end = tables + 3 * candidates,
                       .joining = tables + 4 * candidates,
                       .is_promising = flags};
    pair_limbs(maps, connections, numbers, &pairing, flags + connections->count + 1);
    put_in_order(connections, flags + connections->count + 1, ordered);
    free(numbers);
    free(flags);
    free(tables);
    return 0;
}
