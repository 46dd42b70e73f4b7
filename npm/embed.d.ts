// Defines `window.tympan` and loads the model that the query of the address names.
import "./tympan.js";
