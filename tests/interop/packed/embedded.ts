// The broker in the process. Nobody calls it from outside: the service itself keeps the process alive, until it stops.
import { command, service } from '@stathmos/sdk'
import { memoryStore } from '@stathmos/sdk/stores/memory'
import { embedded } from '@stathmos/sdk/transports/embedded'
import { z } from 'zod'

const Greet = command('greet', z.object({ name: z.string() }))

const app = service('greeter', { store: memoryStore(), transport: embedded({ dataDir: 'engine' }) })
app.on(Greet, { name: 'greet' }, ({ name }) => {
  console.log(`hello ${name}`)
  void app.stop().then(() => console.log('stopped'))
})
await app.start()
await app.createMessage(Greet, { name: 'world' }, { delay: '100ms' })
