/* Candidates and connections into people: best first, with merging. */
#include "decode.h"

#include <stdlib.h>

/* At first each candidate is a person of its own. A person's members are a chain. */
typedef struct {
    uint64_t parts;                 /* a bit each */
    int size, last;
} Person;

/* Take the second person's members into the first. */
static void merge(Person *people, int *person_of, int *next, int first, int second)
{
    for (int member = second; member >= 0; member = next[member])
        person_of[member] = first;
    /* A person's chain begins with the candidate that has its number. */
    next[people[first].last] = second;
    people[first].last = people[second].last;
    people[first].parts |= people[second].parts;
    people[first].size += people[second].size;
    people[second].size = 0;
}

/* Number the people of two and more without gaps, and give the others −1. */
static int renumber(const Person *people, int *person_of, int *number, int count)
{
    int people_count = 0;
    for (int i = 0; i < count; i++)
        number[i] = people[i].size > 1 ? people_count++ : -1;
    for (int i = 0; i < count; i++)
        person_of[i] = number[person_of[i]];
    return people_count;
}

int assemble(const Peaks *peaks, const Connections *connections, int *person_of, int *count)
{
    Person *people = malloc(((size_t)peaks->count + 1) * sizeof *people);
    int *next = malloc(((size_t)peaks->count + 1) * sizeof *next);
    if (!people || !next) {
        free(people);
        free(next);
        return -1;
    }
    for (int i = 0; i < peaks->count; i++) {
        const Person alone = {(uint64_t)1 << peaks->part[i], 1, i};
        people[i] = alone;
        person_of[i] = i;
        next[i] = -1;
    }
    for (size_t i = 0; i < connections->count; i++) {
        const int first = person_of[connections->list[i].start], second = person_of[connections->list[i].end];
        if (people[first].parts & people[second].parts)
            continue;
        /* Whoever has more members takes the others in, so that a candidate changes its person few times. */
        if (people[first].size < people[second].size)
            merge(people, person_of, next, second, first);
        else
            merge(people, person_of, next, first, second);
    }
    *count = renumber(people, person_of, next, peaks->count);
    free(people);
    free(next);
    return 0;
}
