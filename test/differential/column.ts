/** A column of the table under migration, as the application sees it. */
export interface Column {
  name: string;
  /** SQL type, for parameters that are declared. */
  type: string;
  /** What is written into it; the others have their own few values. */
  role: 'id' | 'lead' | 'note' | 'n' | 'u' | 'g' | 'derived' | 'own';
}
