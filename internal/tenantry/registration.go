package tenantry

// RegistrationState is where the registration of an application in a customer's tenant by device code stands.
// Package directory draws the machine.
type RegistrationState string

// The states of a registration.
const (
	RegAsking     RegistrationState = "asking"     // for a code
	RegWaiting    RegistrationState = "waiting"    // for a person to enter it
	RegSignedIn   RegistrationState = "signed_in"  // nothing is made yet
	RegRegistered RegistrationState = "registered" // the application is there
	RegCertified  RegistrationState = "certified"  // it has our certificate
	RegGranted    RegistrationState = "granted"    // and its roles; the sign-in's token is dropped
	RegDone       RegistrationState = "done"
	RegFailed     RegistrationState = "failed"
	RegUndoing    RegistrationState = "undoing"
	RegUndone     RegistrationState = "undone"
)

// RegistrationEnded lists the states in which nothing moves any more.
func RegistrationEnded() []RegistrationState {
	return []RegistrationState{RegDone, RegFailed, RegUndone}
}

// ToRegister is the purpose of a credential that is not used yet: its registration is under way.
const ToRegister Purpose = "register"

// ToRotate is the purpose of a credential that is not used yet: it is to take the place of one that ends.
const ToRotate Purpose = "rotate"
