// What the torture declares, and what the checker may assume of it.

export const FAN = 'torture.fan'
export const FAN_QUEUES = ['torture.fan.1', 'torture.fan.2', 'torture.fan.3', 'torture.fan.4']
/** Nobody consumes from it until the end: its messages live through every crash. */
export const BACKLOG = 'torture.backlog'
export const PLAIN = 'torture.plain'
export const WORK = 'torture.work'
export const DEAD = 'torture.dead'
export const PRIORITY = 'torture.priority'
export const COMPETING = 'torture.competing'
export const TX_IN = 'torture.tx.in'
export const TX_OUT = 'torture.tx.out'
export const PURGED = 'torture.purged'

/** Rejected by the one, found in the other. */
export const DEAD_LETTERS = { [WORK]: DEAD }

/** One consumer at a time, no priorities: first in, first out for each publisher. */
export const ORDERED = [PLAIN, BACKLOG, ...FAN_QUEUES, WORK, TX_IN]

export const QUEUES = [
  ...FAN_QUEUES.map((name) => ({ name, arguments: {} })),
  { name: BACKLOG, arguments: {} },
  { name: PLAIN, arguments: {} },
  { name: WORK, arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': DEAD } },
  { name: DEAD, arguments: {} },
  { name: PRIORITY, arguments: { 'x-max-priority': 5 } },
  { name: COMPETING, arguments: {} },
  { name: TX_IN, arguments: {} },
  { name: TX_OUT, arguments: {} },
  { name: PURGED, arguments: {} },
]

/** Consumed while the broker is tortured; the rest is drained at the end. */
export const CONSUMED = [PLAIN, WORK, DEAD, PRIORITY, COMPETING, COMPETING, ...FAN_QUEUES.slice(0, 2), TX_OUT]
