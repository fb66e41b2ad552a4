/* Sorting: the greatest first, equals in the order they came in, in time that grows with their number alone. */
#include "decode.h"

#include <stdlib.h>
#include <string.h>

#define DIGIT_BITS 8
#define DIGITS (64 / DIGIT_BITS)
#define VALUES (1 << DIGIT_BITS)
/* Fewer entries than this are sorted sooner by insertion. */
#define FEW 48

uint64_t key_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint64_t key_of_double(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void insert_descending(Entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const Entry entry = entries[i];
        size_t place = i;
        for (; place > 0 && entries[place - 1].key < entry.key; place--)
            entries[place] = entries[place - 1];
        entries[place] = entry;
    }
}

static void scatter(const Entry *from, Entry *to, size_t count, const size_t *counts, int digit)
{
    size_t place[VALUES], next = 0;
    for (int value = VALUES - 1; value >= 0; value--) {
        place[value] = next;
        next += counts[value];
    }
    for (size_t i = 0; i < count; i++)
        to[place[(from[i].key >> (digit * DIGIT_BITS)) & (VALUES - 1)]++] = from[i];
}

/* Radix sort, from the lowest digit on; digits that all keys share are passed over. */
int sort_descending(Entry *entries, size_t count)
{
    if (count < FEW) {
        insert_descending(entries, count);
        return 0;
    }
    Entry *other = malloc(count * sizeof *other);
    size_t(*counts)[VALUES] = calloc(DIGITS, sizeof *counts);
    if (!other || !counts) {
        free(other);
        free(counts);
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        for (int digit = 0; digit < DIGITS; digit++)
            counts[digit][(entries[i].key >> (digit * DIGIT_BITS)) & (VALUES - 1)]++;
    Entry *from = entries, *to = other;
    for (int digit = 0; digit < DIGITS; digit++) {
        if (counts[digit][(entries[0].key >> (digit * DIGIT_BITS)) & (VALUES - 1)] == count)
            continue;
        scatter(from, to, count, counts[digit], digit);
        Entry *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != entries)
        memcpy(entries, from, count * sizeof *entries);
    free(other);
    free(counts);
    return 0;
}
