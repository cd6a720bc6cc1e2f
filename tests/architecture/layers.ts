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
  // Whoever opens an engine on a directory holds its lock: the broker, and programs that embed one.
  'engine/directory-lock': ['std'],
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

  // The SDK stands alone: of the broker's packages it knows the embedded engine, and that only in one transport.
  'sdk/errors': [],
  'sdk/random': [],
  'sdk/log': [],
  'sdk/time': ['sdk/errors'],
  'sdk/message': ['sdk/random', 'sdk/time'],
  'sdk/work': ['sdk/log', 'sdk/time', 'sdk/random'],
  'sdk/telemetry': ['sdk/errors', 'sdk/message'],
  'sdk/contract': ['sdk/errors', 'sdk/message'],
  // Manifests of contracts, and whether two of them get along.
  'sdk/schema': ['sdk/errors', 'sdk/message', 'sdk/contract'],
  'sdk/wire': ['sdk/errors', 'sdk/message'],
  // Ports with their contract suites; whoever implements one is a stranger to every other.
  'sdk/store': ['sdk/errors', 'sdk/message'],
  'sdk/store/memory': ['sdk/errors', 'sdk/message', 'sdk/time', 'sdk/store'],
  'sdk/store/sql': ['sdk/errors', 'sdk/random', 'sdk/message', 'sdk/time', 'sdk/store'],
  // A user's library as a driver. None knows another; nothing of the libraries is imported.
  'sdk/store/sql/adapters': ['sdk/errors', 'sdk/store', 'sdk/store/sql'],
  'sdk/transport': ['sdk/errors', 'sdk/random', 'sdk/log', 'sdk/time', 'sdk/message', 'sdk/wire'],
  'sdk/transport/memory': [
    'sdk/errors',
    'sdk/random',
    'sdk/log',
    'sdk/time',
    'sdk/message',
    'sdk/transport',
    'sdk/wire',
  ],
  'sdk/transport/embedded': [
    'engine',
    'std',
    'sdk/errors',
    'sdk/random',
    'sdk/log',
    'sdk/time',
    'sdk/message',
    'sdk/transport',
    'sdk/wire',
  ],
  'sdk/transport/amqp': ['sdk/errors', 'sdk/random', 'sdk/log', 'sdk/time', 'sdk/message', 'sdk/transport', 'sdk/wire'],
  'sdk/surroundings': [
    'sdk/errors',
    'sdk/random',
    'sdk/log',
    'sdk/time',
    'sdk/message',
    'sdk/work',
    'sdk/store',
    'sdk/transport',
    'sdk/telemetry',
  ],
  'sdk/retry': ['sdk/errors', 'sdk/random', 'sdk/time', 'sdk/store'],
  // The patterns. Each speaks to the store and the transport through what surrounds it.
  'sdk/outbox': [
    'sdk/errors',
    'sdk/random',
    'sdk/log',
    'sdk/time',
    'sdk/message',
    'sdk/work',
    'sdk/store',
    'sdk/contract',
    'sdk/surroundings',
    'sdk/retry',
    'sdk/transport',
    'sdk/telemetry',
  ],
  'sdk/inbox': [
    'sdk/errors',
    'sdk/random',
    'sdk/log',
    'sdk/time',
    'sdk/message',
    'sdk/work',
    'sdk/store',
    'sdk/contract',
    'sdk/surroundings',
    'sdk/retry',
    'sdk/transport',
    'sdk/telemetry',
    'sdk/outbox',
  ],
  'sdk/schedule': [
    'sdk/errors',
    'sdk/random',
    'sdk/log',
    'sdk/time',
    'sdk/message',
    'sdk/work',
    'sdk/store',
    'sdk/contract',
    'sdk/surroundings',
    'sdk/telemetry',
    'sdk/outbox',
  ],
  'sdk/request': [
    'sdk/errors',
    'sdk/random',
    'sdk/log',
    'sdk/time',
    'sdk/message',
    'sdk/work',
    'sdk/contract',
    'sdk/surroundings',
    'sdk/transport',
    'sdk/telemetry',
  ],
  'sdk/register': [
    'sdk/errors',
    'sdk/random',
    'sdk/log',
    'sdk/time',
    'sdk/message',
    'sdk/work',
    'sdk/store',
    'sdk/contract',
    'sdk/surroundings',
    'sdk/retry',
    'sdk/outbox',
  ],
  // The way in for other systems, and the way to OpenTelemetry's API.
  'sdk/http': ['sdk/errors', 'sdk/log', 'sdk/message', 'sdk/store', 'sdk/contract', 'sdk/register'],
  // The composition root: the service and what it is made of.
  sdk: ['sdk/*'],
  'sdk/testing': ['sdk', 'sdk/*'],
  'sdk/cli': ['sdk', 'sdk/*'],
}
