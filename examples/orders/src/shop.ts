// The shop: what it does when an order is placed, told as handlers. Importing this file starts nothing.
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { service } from '@stathmos/sdk'
import { sqlite } from '@stathmos/sdk/stores/sqlite'
import { embedded } from '@stathmos/sdk/transports/embedded'
import { CountStock, GoodsReceived, OrderPlaced, PriceOf, SendInvoice } from './contracts.ts'
import { connect, db, directory } from './database.ts'
import { sendMail } from './mailer.ts'

export const app = service('shop', {
  // `own` is the connection that handlers get as `tx`, so that nothing else of this program is in their transactions.
  store: sqlite(db, { own: connect() }),
  // The broker in this process; with amqp(url) it would be RabbitMQ, or Stathmos as a server.
  transport: embedded({ dataDir: join(directory, 'engine') }),
})

export interface Order {
  readonly item: string
  readonly count: number
  readonly email: string
}

export type Placed = { readonly orderId: string; readonly cents: number } | { readonly refused: string }

/** The order and the news of it are in one transaction: there is never one without the other. */
export async function placeOrder({ item, count, email }: Order): Promise<Placed> {
  const price = await app.ask(PriceOf, { item }, { timeout: '2s' })
  if (!price.ok) return { refused: price.error === 'unknown' ? `there is no ${price.value.item}` : price.message }

  const orderId = randomUUID()
  const cents = price.value.cents * count
  await app.transaction(async (tx, { publish }) => {
    tx.prepare('insert into orders values (?, ?, ?, ?, ?)').run(orderId, item, count, cents, email)
    await publish(OrderPlaced, { orderId, item, count, cents, email })
  })
  return { orderId, cents }
}

// In a transaction: the stock, the memory that this message was handled, and the command commit together.
app.on(OrderPlaced, { name: 'stock' }, async ({ orderId, item, count, cents, email }, { tx, send }) => {
  tx.prepare('update stock set pieces = pieces - ? where item = ?').run(count, item)
  await send(SendInvoice, { orderId, cents, email })
})

// No transaction can take a mail back. So it is tried until it is done, always with the same key.
app.effect(
  SendInvoice,
  { name: 'invoice', retry: { initial: '500ms', max: '2s', attempts: 100 } },
  async ({ orderId, cents, email }, { idempotencyKey }) => {
    await sendMail({ to: email, text: `Order ${orderId}: ${(cents / 100).toFixed(2)} EUR`, idempotencyKey })
  },
)

app.on(GoodsReceived, { name: 'receive' }, ({ item, count }, { tx }) => {
  tx.prepare('insert into stock values (?, ?) on conflict do update set pieces = pieces + excluded.pieces').run(
    item,
    count,
  )
})

// Every ten seconds, so that you see it happen; '0 3 * * *' is every night at three. Once, however many processes run.
app.every('*/10 * * * * *', { name: 'stock-count', tz: 'Europe/Berlin' }, CountStock, (at) => ({
  at: at.toISOString(),
}))

app.on(CountStock, { name: 'count' }, ({ at }, { tx }) => {
  tx.prepare('insert into stock_counts select ?, sum(pieces) from stock').run(at)
})
