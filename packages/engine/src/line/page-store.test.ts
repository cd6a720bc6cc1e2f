import { MemoryFiles } from '@stathmos/testkit'
import { expect, test } from 'vitest'
import { PageStore } from './page-store.ts'

async function world(files = new MemoryFiles()) {
  await files.makeDirectory('/index')
  return { files, store: new PageStore(files, '/index') }
}

async function put(store: PageStore, ...pages: number[][]) {
  const stored = pages.map((page) => store.add(Uint8Array.from(page)))
  await store.write(store.cut()!)
  return stored
}

test('pages are read as they were written, from the file of their checkpoint', async () => {
  const { files, store } = await world()
  const [a, b] = await put(store, [1, 2, 3], [])
  const [c] = await put(store, [4])
  expect([a!.file, b!.file, c!.file]).toEqual([1, 1, 2])
  expect(await files.list('/index')).toHaveLength(2)
  expect([...(await store.read(a!))]).toEqual([1, 2, 3])
  expect([...(await store.read(b!))]).toEqual([])
  expect([...(await store.read(c!))]).toEqual([4])
  await store.close()
})

test('nothing is written when nothing changed', async () => {
  expect((await world()).store.cut()).toBeNull()
})

test('pages that gather while a file is written go into the next one', async () => {
  const { store } = await world()
  const first = store.add(Uint8Array.of(1))
  const cut = store.cut()!
  const second = store.add(Uint8Array.of(2))
  await store.write(cut)
  await store.write(store.cut()!)
  expect([first.file, second.file]).toEqual([1, 2])
  expect([[...(await store.read(first))], [...(await store.read(second))]]).toEqual([[1], [2]])
})

test('a damaged page is not taken for a good one', async () => {
  const { files, store } = await world()
  const [stored] = await put(store, [1, 2, 3, 4])
  const [name] = await files.list('/index')
  for (let bit = 0; bit < 12 * 8; bit++) {
    files.flip(`/index/${name!}`, bit)
    await expect(store.read(stored!)).rejects.toThrow('damaged')
    files.flip(`/index/${name!}`, bit)
  }
})

test('a start keeps the files that the checkpoint names, and numbers new ones behind them', async () => {
  const { files, store } = await world()
  const [kept] = await put(store, [1])
  await put(store, [2])
  const [last] = await put(store, [3])
  const next = new PageStore(files, '/index')
  next.keep(kept!)
  next.keep(last!)
  // The checkpoint on disk still names it, whatever has happened to the page since.
  next.drop(last!)
  await next.sweep()
  expect(await files.list('/index')).toHaveLength(2)
  const [fresh] = await put(next, [4])
  expect(fresh!.file).toBe(4)
  expect([...(await next.read(kept!))]).toEqual([1])
})
