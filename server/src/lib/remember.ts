/** Makes something of an object once, for as long as that same object is in use: of a row that is kept, say. */
export function remember<Of extends object, Made>(make: (of: Of) => Made): (of: Of) => Made {
  const made = new WeakMap<Of, { value: Made }>()
  return (of) => {
    let known = made.get(of)
    if (known === undefined) {
      known = { value: make(of) }
      made.set(of, known)
    }
    return known.value
  }
}
