// Prisma's client, generated here for a schema of nothing: the store speaks SQL, and its tables are its own.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const peers = dirname(fileURLToPath(import.meta.url))
const here = createRequire(import.meta.url)

/** A generated client, as far as the suites use it. */
export interface PrismaClient {
  $connect(): Promise<void>
  $disconnect(): Promise<void>
  $executeRawUnsafe(text: string, ...values: unknown[]): Promise<number>
  $queryRawUnsafe<Rows>(text: string, ...values: unknown[]): Promise<Rows>
  $extends(extension: object): PrismaClient
  $transaction<R>(work: (tx: TransactionClient) => Promise<R>, options?: object): Promise<R>
}

/** What Prisma calls `Prisma.TransactionClient`: a client without what makes it one, so that a client can stand for it. */
export type TransactionClient = Omit<PrismaClient, '$connect' | '$disconnect' | '$extends' | '$transaction'>

export interface Generated {
  /** Connects to a file of SQLite, or the address of a PostgreSQL server. */
  connect(address: string): PrismaClient
  remove(): void
}

interface Constructors {
  readonly PrismaClient: new (options: { adapter: object }) => PrismaClient
  readonly PrismaBetterSqlite3: new (options: { url: string }) => object
  readonly PrismaPg: new (options: { connectionString: string; max: number }) => object
}

export const noPrisma = (() => {
  try {
    for (const name of [
      'prisma/package.json',
      '@prisma/client',
      '@prisma/adapter-pg',
      '@prisma/adapter-better-sqlite3',
    ])
      here.resolve(name)
    return null
  } catch {
    return 'Prisma is not installed (npm install --prefix tests/peers)'
  }
})()

/** Generates a client beside this file, where it finds its runtime. */
export function generatePrisma(provider: 'sqlite' | 'postgresql', connections: number): Generated {
  const directory = mkdtempSync(join(peers, 'node_modules', '.stathmos-prisma-'))
  const schema = [
    'generator client {',
    '  provider = "prisma-client-js"',
    `  output = ${JSON.stringify(join(directory, 'client'))}`,
    '}',
    'datasource db {',
    `  provider = "${provider}"`,
    '}',
    'model Ticket {',
    '  id String @id',
    '}',
  ]
  writeFileSync(join(directory, 'schema.prisma'), schema.join('\n'))
  // Only migrations need the engine for schemas, which would have to be downloaded: any file that is there does for it.
  const env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' }
  const cli = join(peers, 'node_modules', 'prisma', 'build', 'index.js')
  const options = ['generate', '--schema', join(directory, 'schema.prisma')]
  try {
    execFileSync(process.execPath, [cli, ...options], { cwd: directory, env, stdio: 'pipe' })
  } catch (error) {
    rmSync(directory, { recursive: true })
    throw error
  }
  const { PrismaClient } = here(join(directory, 'client')) as Constructors
  return {
    connect(address) {
      if (provider === 'sqlite') {
        const { PrismaBetterSqlite3 } = here('@prisma/adapter-better-sqlite3') as Constructors
        return new PrismaClient({ adapter: new PrismaBetterSqlite3({ url: `file:${address}` }) })
      }
      const { PrismaPg } = here('@prisma/adapter-pg') as Constructors
      return new PrismaClient({ adapter: new PrismaPg({ connectionString: address, max: connections }) })
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
