// Starts everything, and stops it in order: what is under way is finished first.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { catalogue } from './catalogue.ts'
import { server } from './server.ts'
import { app } from './shop.ts'

await app.migrate()
await catalogue.start()
await app.start()
server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo
console.log(`the shop is open at http://127.0.0.1:${port}, process ${process.pid}`)

await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
server.close()
await app.stop()
await catalogue.stop()
