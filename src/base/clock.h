/* clock.h - the clocks. */
#ifndef SG_BASE_CLOCK_H
#define SG_BASE_CLOCK_H
#include <stdint.h>

/* Milliseconds (microseconds) on a clock that never steps and counts the time that the machine was
 * suspended (CLOCK_BOOTTIME): leases are judged on it. */
int64_t sg_clock_ms(void);
int64_t sg_clock_us(void);

/* Milliseconds since 1970: only for the time stamps of messages. */
int64_t sg_clock_wall_ms(void);

/* now + wait, saturating at INT64_MAX; a negative wait counts as 0. */
int64_t sg_clock_after(int64_t now, int64_t wait);
#endif
