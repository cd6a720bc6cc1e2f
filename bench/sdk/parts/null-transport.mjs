// A transport that takes everything and keeps nothing: what is left is the store's share. It looks at what it takes.
import { OrderCheck } from './orders.mjs'

/** @returns a transport whose `check` has followed all that was sent */
export function nullTransport() {
  const check = new OrderCheck()
  return {
    name: 'null',
    check,
    capabilities: { ordering: true, confirm: true, returns: true, replies: true, bodyBytesMax: 2 ** 24 },
    open: async () => {},
    declare: async () => {},
    async send(messages) {
      for (const { body } of messages) check.see(JSON.parse(Buffer.from(body).toString()))
      return messages.map(() => 'sent')
    },
    subscribe: async () => ({ pause() {}, resume() {}, close: async () => {} }),
    openReplies: async () => ({ address: () => 'nowhere', close: async () => {} }),
    watch(changed) {
      changed(true)
      return () => {}
    },
    close: async () => {},
  }
}
