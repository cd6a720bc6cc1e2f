// A service as somebody writes it who has nothing but the SDK and a validator.
import { event, request, service, type ServiceOptions } from '@stathmos/sdk'
import { memoryStore, type MemoryTransaction } from '@stathmos/sdk/stores/memory'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import { z } from 'zod'

const Placed = event('order.placed', z.object({ id: z.string(), note: z.string().optional() })).key(({ id }) => id)
const Price = request('price', { input: z.object({ item: z.string() }), output: z.object({ cents: z.int() }) })

const store = memoryStore()
const options: ServiceOptions<MemoryTransaction> = { store, transport: memoryEngine().transport() }
const app = service('shop', options)

const invoiced = new Promise<string>((resolve) => {
  app
    .on(Placed, { name: 'book' }, ({ id, note }, { tx }) => tx.table('orders').set(id, { note: note ?? 'none' }))
    .effect(Placed, { name: 'invoice', retry: { attempts: 3 } }, (_, { idempotencyKey }) => resolve(idempotencyKey))
    .answer(Price, ({ item }) => ({ cents: item.length * 100 }))
})

await app.migrate()
await app.start()
const id = await app.transaction((_, { publish }) => publish(Placed, { id: 'o1' }))
console.log((await invoiced) === `shop.invoice:${id}`)
const price = await app.ask(Price, { item: 'pen' })
console.log(price.ok ? price.value.cents : price.error)
await app.stop()
console.log(store.table<{ note: string }>('orders').get('o1')?.note)
