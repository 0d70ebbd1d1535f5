package engine

// MboxFrame is tested from outside with the other forms.
var MboxFrame = mboxFrame
