// One process of the tortured service: takes orders and publishes them, or handles them, or both relays and handles.
//
//   node shop.mjs --store postgres|sqlite --database URL-OR-FILE --amqp URL --role seller|clerk --name seller-1
//
// With `--sabotage accept-first` it breaks its promise on purpose, which the checker has to find: deliveries are accepted
// before what came of them is committed.
//
// It says "ready" when it is at work, and runs until it is killed; SIGTERM stops it in order.
import { parseArgs } from 'node:util'
import { command, event, service } from '@stathmos/sdk'
import { amqp } from '@stathmos/sdk/transports/amqp'
import { openDatabase } from './database.mjs'

/** Few keys, so that their messages are close together and a mistake in their order shows. */
const CUSTOMERS = 8
/** Orders of a seller that are under way at once. */
const SELLING_AT_ONCE = 4
/** A seller waits this long between orders, so that a run of hundreds of kills can be drained in reasonable time. */
const PAUSE_MS = 4
const UNHANDLED_MS = 50

const { values } = parseArgs({
  options: {
    store: { type: 'string' },
    database: { type: 'string' },
    amqp: { type: 'string' },
    role: { type: 'string' },
    name: { type: 'string' },
    sabotage: { type: 'string' },
  },
})

const anyObject = { '~standard': { version: 1, vendor: 'torture', validate: (value) => ({ value }) } }
export const OrderPlaced = event('order.placed', anyObject).key((order) => order.customer)
export const SendInvoice = command('invoice.send', anyObject).key((order) => order.customer)

const database = await openDatabase(values.store, values.database)
const transport = amqp(values.amqp)
if (values.sabotage === 'accept-first') acceptFirst(transport)
const app = service('shop', { store: database.store, transport })

app.on(OrderPlaced, { name: 'book' }, async (order, { tx, send }) => {
  await database.record(tx, 'booked', order)
  await send(SendInvoice, order)
})
app.on(SendInvoice, { name: 'invoice' }, async (order, { tx }) => {
  await database.record(tx, 'invoiced', order)
})

let stopping = false
const selling = []
const started = app.start()
process.once('SIGTERM', () => {
  stopping = true
  void started
    .then(() => Promise.all(selling))
    .then(() => app.stop())
    .then(() => database.close())
    .then(() => process.exit(0))
})

await started
if (values.role === 'seller') for (let lane = 0; lane < SELLING_AT_ONCE; lane++) selling.push(sell())
process.stdout.write('ready\n')

async function sell() {
  while (!stopping) {
    try {
      await database.store.transaction(async (tx) => {
        const order = await database.order(tx, `customer-${Math.floor(Math.random() * CUSTOMERS)}`)
        await app.in(tx).publish(OrderPlaced, order)
        // Every tenth customer thinks better of it: nothing of the order may be heard of again.
        if (Math.random() < 0.1) throw new ThoughtBetter()
      })
    } catch (error) {
      if (!(error instanceof ThoughtBetter) && error.retryable !== true) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

function acceptFirst(carrier) {
  const subscribe = carrier.subscribe.bind(carrier)
  carrier.subscribe = (consumer, prefetch, receive) =>
    subscribe(consumer, prefetch, (delivery) => {
      delivery.accept()
      const { message, raw, redelivered } = delivery
      // Long enough that every kill hits some that are accepted and not handled.
      setTimeout(() => receive({ message, raw, redelivered, accept() {}, release() {} }), UNHANDLED_MS)
    })
}

class ThoughtBetter extends Error {}
