// What services share about messages. In a larger system this is a package of its own.
import { command, event, request } from '@stathmos/sdk'
import { z } from 'zod'

/** A question with an answer: over the transport only, nothing of it is stored. */
export const PriceOf = request('catalogue.price', {
  input: z.object({ item: z.string() }),
  output: z.object({ cents: z.int() }),
  errors: { unknown: z.object({ item: z.string() }) },
})

/** Something that happened. The key is what it is about: messages of one order are handled one after the other. */
export const OrderPlaced = event(
  'order.placed',
  z.object({ orderId: z.string(), item: z.string(), count: z.int().positive(), cents: z.int(), email: z.string() }),
).key(({ orderId }) => orderId)

/** Something to be done, by the one service that owns it. */
export const SendInvoice = command(
  'invoice.send',
  z.object({ orderId: z.string(), cents: z.int(), email: z.string() }),
).key(({ orderId }) => orderId)

/** Told by the warehouse, over HTTP. */
export const GoodsReceived = event('goods.received', z.object({ item: z.string(), count: z.int().positive() })).key(
  ({ item }) => item,
)

/** Sent by a schedule. */
export const CountStock = command('stock.count', z.object({ at: z.iso.datetime() }))
