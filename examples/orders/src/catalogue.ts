// A service that only answers. It has nothing to keep, so its store is in memory.
import { join } from 'node:path'
import { service } from '@stathmos/sdk'
import { memoryStore } from '@stathmos/sdk/stores/memory'
import { embedded } from '@stathmos/sdk/transports/embedded'
import { PriceOf } from './contracts.ts'
import { directory } from './database.ts'

const prices: Readonly<Record<string, number>> = { pen: 120, lamp: 4500 }

export const catalogue = service('catalogue', {
  store: memoryStore(),
  transport: embedded({ dataDir: join(directory, 'engine') }),
})

catalogue.answer(PriceOf, ({ item }, { fail }) => {
  const cents = prices[item]
  return cents === undefined ? fail('unknown', { item }) : { cents }
})
