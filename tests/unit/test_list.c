/* test_list.c - the intrusive list. */
#include "base/list.h"

#include "test.h"

typedef struct item {
    int value;
    sg_node node;
} item;

/* The values in order, as digits, read in both directions. */
static int forwards(const sg_list *l) {
    int digits = 0;
    for (sg_node *n = l->head.next; n != &l->head; n = n->next)
        digits = digits * 10 + SG_OF(n, item, node)->value;
    return digits;
}

static int backwards(const sg_list *l) {
    int digits = 0;
    for (sg_node *n = l->head.prev; n != &l->head; n = n->prev)
        digits = digits * 10 + SG_OF(n, item, node)->value;
    return digits;
}

TEST(keeps_order) {
    item i[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
    sg_list l;
    sg_list_init(&l);
    CHECK(sg_list_empty(&l));
    CHECK(sg_list_first(&l) == NULL);
    CHECK(sg_list_pop(&l) == NULL);
    CHECK(!sg_node_linked(&i[0].node));
    sg_list_push(&l, &i[1].node);
    sg_list_push(&l, &i[2].node);
    sg_list_push_front(&l, &i[0].node);
    sg_list_insert_before(&i[2].node, &i[3].node);
    CHECK_EQ(forwards(&l), 1243);
    CHECK_EQ(backwards(&l), 3421);
    CHECK(sg_node_linked(&i[3].node));
    sg_list_remove(&i[3].node);
    sg_list_remove(&i[3].node);
    CHECK(!sg_node_linked(&i[3].node));
    CHECK_EQ(forwards(&l), 123);
    CHECK_PTR(sg_list_first(&l), &i[0].node);
    CHECK_PTR(sg_list_pop(&l), &i[0].node);
    CHECK(!sg_node_linked(&i[0].node));
    CHECK_EQ(backwards(&l), 32);
}

TEST(splices) {
    item i[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
    sg_list a, b;
    sg_list_init(&a);
    sg_list_init(&b);
    for (int k = 0; k < 4; k++)
        sg_list_push(k < 2 ? &a : &b, &i[k].node);
    sg_list_splice(&a, &b);
    CHECK_EQ(forwards(&a), 1234);
    CHECK(sg_list_empty(&b));
    sg_list_splice(&a, &b);
    CHECK_EQ(backwards(&a), 4321);
}
