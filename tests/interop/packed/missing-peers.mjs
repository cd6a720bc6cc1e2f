// Uses what needs another package, where that package is not installed.
import { command, event, openTelemetry, protobuf, service } from '@stathmos/sdk'
import { memoryStore } from '@stathmos/sdk/stores/memory'
import { amqp } from '@stathmos/sdk/transports/amqp'
import { embedded } from '@stathmos/sdk/transports/embedded'
import { memoryEngine } from '@stathmos/sdk/transports/memory'

const anything = { '~standard': { version: 1, vendor: 'none', validate: (value) => ({ value }) } }
const Count = command('count', anything)

async function tell(work) {
  await Promise.resolve()
    .then(work)
    .then(
      () => console.log('nothing is missing'),
      ({ code, message }) => console.log(`${code}: ${message}`),
    )
}

await tell(() => service('a', { store: memoryStore(), transport: embedded({ dataDir: 'engine' }) }).start())
await tell(() => service('b', { store: memoryStore(), transport: amqp('amqp://127.0.0.1:1') }).start())
await tell(() =>
  service('c', { store: memoryStore(), transport: memoryEngine().transport() })
    .every('0 3 * * *', { name: 'nightly' }, Count, () => ({}))
    .start(),
)
await tell(() => openTelemetry())
await tell(() => event('e', anything).body(protobuf({})).encode({}))
