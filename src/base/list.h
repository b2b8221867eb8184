/* list.h - an intrusive doubly linked list. A node is in at most one list; a zeroed node is in
 * none. */
#ifndef SG_BASE_LIST_H
#define SG_BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>

typedef struct sg_node {
    struct sg_node *prev, *next;
} sg_node;
typedef struct sg_list {
    sg_node head; /* head.next is the first, head.prev the last */
} sg_list;

#define SG_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void sg_list_init(sg_list *l) {
    l->head.prev = l->head.next = &l->head;
}

static inline bool sg_list_empty(const sg_list *l) {
    return l->head.next == &l->head;
}

static inline bool sg_node_linked(const sg_node *n) {
    return n->next != NULL;
}

static inline void sg_list_insert_before(sg_node *at, sg_node *n) {
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}

static inline void sg_list_push(sg_list *l, sg_node *n) { /* at the end */
    sg_list_insert_before(&l->head, n);
}

static inline void sg_list_push_front(sg_list *l, sg_node *n) {
    sg_list_insert_before(l->head.next, n);
}

static inline void sg_list_remove(sg_node *n) { /* nothing where it is in no list */
    if (n->next == NULL)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = NULL;
}

static inline sg_node *sg_list_first(const sg_list *l) { /* NULL where empty */
    return sg_list_empty(l) ? NULL : l->head.next;
}

static inline sg_node *sg_list_pop(sg_list *l) {
    sg_node *n = sg_list_first(l);
    if (n != NULL)
        sg_list_remove(n);
    return n;
}

/* Move all nodes of `from` to the end of `to`. */
static inline void sg_list_splice(sg_list *to, sg_list *from) {
    sg_node *n;
    while ((n = sg_list_pop(from)) != NULL)
        sg_list_push(to, n);
}
#endif
