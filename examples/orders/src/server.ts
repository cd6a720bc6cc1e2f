// The shop's own pages, and beside them the way in for other systems.
import { createServer, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import { GoodsReceived } from './contracts.ts'
import { db } from './database.ts'
import { app, placeOrder, type Order } from './shop.ts'

/** POST /messages/goods.received with an Idempotency-Key: stored once for each key, and answered with 202. */
const intake = app.http({ accept: [GoodsReceived] })

export const server = createServer((request, response) => {
  if (request.url?.startsWith('/messages/')) return intake.node(request, response)
  answer(request).then(
    ({ status, body }) => response.writeHead(status).end(`${JSON.stringify(body)}\n`),
    (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
  )
})

async function answer(request: IncomingMessage): Promise<{ readonly status: number; readonly body: unknown }> {
  switch (`${request.method} ${request.url}`) {
    case 'POST /orders': {
      const placed = await placeOrder((await json(request)) as Order)
      return { status: 'refused' in placed ? 422 : 201, body: placed }
    }
    case 'GET /stock':
      return { status: 200, body: db.prepare('select item, pieces from stock order by item').all() }
    case 'GET /stock-counts':
      return { status: 200, body: db.prepare('select at, pieces from stock_counts order by at desc limit 5').all() }
    default:
      return { status: 404, body: 'POST /orders, GET /stock, GET /stock-counts, POST /messages/goods.received' }
  }
}
