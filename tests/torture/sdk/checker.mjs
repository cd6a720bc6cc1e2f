// Judges what the tortured service left in its tables. It knows nothing of the SDK: orders that were taken, and what was
// booked and invoiced of them.

/**
 * @param {{ all: (text: string) => Promise<Record<string, unknown>[]> }} database
 * @returns {Promise<{ orders: number, violations: string[] }>}
 */
export async function check(database) {
  const orders = await database.all('SELECT customer, number FROM orders')
  const taken = new Set(orders.map(nameOf))
  const violations = []
  if (taken.size !== orders.length) violations.push(`${orders.length - taken.size} orders were taken twice`)
  for (const table of ['booked', 'invoiced']) {
    const rows = await database.all(`SELECT customer, number FROM ${table} ORDER BY at`)
    const seen = new Set()
    const last = new Map()
    for (const row of rows) {
      const name = nameOf(row)
      if (seen.has(name)) violations.push(`${table} twice: ${name}`)
      else if (!taken.has(name)) violations.push(`${table}, but its order was never taken: ${name}`)
      const before = last.get(row.customer) ?? 0
      if (row.number <= before) violations.push(`${table} out of order: ${name} after ${before}`)
      seen.add(name)
      last.set(row.customer, row.number)
    }
    for (const name of taken) if (!seen.has(name)) violations.push(`never ${table}: ${name}`)
  }
  return { orders: orders.length, violations }
}

const nameOf = ({ customer, number }) => `${customer}#${number}`
