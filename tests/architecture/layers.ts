/**
 * The table of rooms: which folder may import which. Types count. An arrow that is not here is a failed test, so
 * that a new dependency between rooms is a decision and not an accident. See ARCHITECTURE.md.
 *
 * A room is named by its folder under `packages/<package>/src`; the most specific name wins, and files directly in
 * `src` belong to the room of the package. A room may always import itself.
 */
export type Rooms = Readonly<Record<string, readonly string[]>>

export const rooms: Rooms = {
  std: [],

  wire: ['std', 'wire/*'],
  'wire/amqp': ['std', 'wire'],

  'engine/errors': [],
  // Files, frames and records: bytes with positions. Knows no message and no queue.
  'engine/storage': ['std', 'engine/errors'],
  'engine/message': ['std', 'engine/errors', 'engine/storage'],
  'engine/access': ['std', 'engine/errors'],
  'engine/flow': ['std', 'engine/errors'],
  'engine/exchange': ['std', 'engine/errors', 'engine/message'],
  // A shard and what lives in it: lines, their index pages, the agenda.
  'engine/line': ['std', 'engine/errors', 'engine/message', 'engine/storage'],
  'engine/queue': ['std', 'engine/errors', 'engine/message', 'engine/storage', 'engine/line'],
  'engine/schedule': ['std', 'engine/errors', 'engine/message', 'engine/storage', 'engine/line'],
  'engine/topology': [
    'std',
    'engine/errors',
    'engine/message',
    'engine/access',
    'engine/exchange',
    'engine/line',
    'engine/queue',
    'engine/schedule',
  ],
  'engine/recovery': [
    'std',
    'engine/errors',
    'engine/message',
    'engine/storage',
    'engine/line',
    'engine/queue',
    'engine/topology',
  ],
  // Reads a data directory as it lies there, past all damage.
  'engine/repair': [
    'std',
    'engine/errors',
    'engine/message',
    'engine/storage',
    'engine/line',
    'engine/queue',
    'engine/topology',
    'engine/recovery',
  ],
  // The files of the package itself put the rooms together.
  engine: ['std', 'engine/*'],

  'testkit/contracts': ['std', 'engine'],
  testkit: ['std', 'engine', 'testkit/contracts'],

  'broker/config': ['std'],
  'broker/log': ['std'],
  'broker/version': [],
  'broker/data-directory': ['std'],
  'broker/session': ['std', 'engine'],
  'broker/net': ['std', 'broker/session', 'broker/log'],
  'broker/auth': ['std', 'engine', 'broker/session', 'broker/net', 'broker/log'],
  'broker/http': ['std', 'engine', 'broker/log'],
  // Each protocol is a stranger to every other: none has an arrow to another.
  'broker/protocols/amqp': ['std', 'wire', 'engine', 'broker/session'],
  // The composition root, the only one that knows every room.
  broker: ['std', 'wire', 'engine', 'broker/*'],
  'broker/cli': ['std', 'engine', 'broker', 'broker/*'],
  'broker/test': ['std', 'broker', 'broker/config', 'broker/log'],
}
